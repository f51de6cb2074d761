// Reads the numbers of tests/data/tiling.json as words and prints what Kotlin makes of them, for test_android.py.
// "axis SIZE TILE OVERLAP" -> starts, then weights; "broken VALUE" -> what is said of a network that gives it; "image HEIGHT WIDTH CHANNELS PEAK SCALE TILE OVERLAP PIXELS..." -> pixels.
import rnan.Pixels
import rnan.Tiling

fun network(tile: FloatArray, side: Int, channels: Int, scale: Int): FloatArray {
    val enlarged = side * scale
    return FloatArray(enlarged * enlarged * channels) {
        val (y, x, c) = Triple(it / channels / enlarged, it / channels % enlarged, it % channels)
        tile[(y / scale * side + x / scale) * channels + c] / 2f + (y + 2 * x) / 256f
    }
}

fun main() {
    for (line in generateSequence(::readLine)) {
        val words = line.split(" ")
        if (words[0] == "broken") {
            val white = Pixels(4, 4, 1, 255, IntArray(16) { 255 })
            val value = words[1].toFloat()
            println(runCatching { Tiling(4, 0).restore(white, 1) { FloatArray(16) { value } } }.exceptionOrNull()?.message)
            continue
        }
        val numbers = words.drop(1).map { it.toInt() }
        if (words[0] == "axis") {
            val spans = Tiling(numbers[1], numbers[2]).spans(numbers[0])
            println((spans.map { it.start.toString() } + spans.flatMap { span -> span.weights.map { it.toString() } }).joinToString(" "))
        } else {
            val (height, width, channels, peak, scale) = numbers
            val (tile, overlap) = numbers.drop(5)
            val image = Pixels(height, width, channels, peak, numbers.drop(7).toIntArray())
            val restored = Tiling(tile, overlap).restore(image, scale) { network(it, tile, channels, scale) }
            println(restored.values.joinToString(" "))
        }
    }
}
