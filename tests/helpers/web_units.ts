// What tests/export/test_web.py compares with Python, for Node.js.
export { readHeader } from "../../export/web/src/file_header";
export { jpegQuality } from "../../export/web/src/jpeg_quality";
export { Line, lineOf } from "../../export/web/src/line";
export { measureNoise } from "../../export/web/src/noise";
export { level, restore, spans } from "../../export/web/src/tiling";
