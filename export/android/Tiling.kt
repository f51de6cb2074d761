package rnan

import kotlin.math.ceil
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/** An image as it is in a file: height * width * channels values of 0..peak (255 or 65535), row by row, channels last. */
class Pixels(val height: Int, val width: Int, val channels: Int, val peak: Int, val values: IntArray) {
    init {
        require(values.size == height * width * channels) { "$height x $width x $channels is not ${values.size} values" }
    }
}

/** A tile's place on an axis, and how much each of its pixels counts. */
class Span(val start: Int, val weights: FloatArray)

/** Maps tile * tile * channels values in [0, 1] to the (scale * tile)^2 * channels values that the network gives. */
typealias Network = (FloatArray) -> FloatArray

/** Tiles begin at multiples of this, which keeps the phase of strides and of the mosaic. */
private const val MULTIPLE = 4

/**
 * Cuts images into overlapping tiles and blends what a network makes of them, as rnan_tf/restoring/tiling.py does.
 *
 * `tile` and `overlap` are those of the model's card. One thread at a time may use it.
 */
class Tiling(private val tile: Int, private val overlap: Int) {
    /** Covers an axis by tiles whose weights add up to 1 at every pixel. */
    fun spans(size: Int): List<Span> {
        val padded = max(ceil(size / MULTIPLE.toDouble()).toInt() * MULTIPLE, tile)
        val count = max(ceil((padded - overlap) / (tile - overlap).toDouble()).toInt(), 1)
        val starts = List(count) { min(it * (tile - overlap), padded - tile) }
        val weights = starts.map { start -> DoubleArray(tile) { rise(it, start) * fall(it, start, padded) } }
        val total = DoubleArray(padded)
        for ((start, weight) in starts.zip(weights)) for (i in 0 until tile) total[start + i] += weight[i]
        return starts.zip(weights) { start, weight ->
            Span(start, FloatArray(tile) { (weight[it] / total[start + it]).toFloat() })
        }
    }

    /** Restores an image of any size; `scale` is the network's. */
    fun restore(image: Pixels, scale: Int, network: Network): Pixels {
        val rows = spans(image.height)
        val columns = spans(image.width)
        val width = (columns.last().start + tile) * scale
        val sum = FloatArray((rows.last().start + tile) * scale * width * image.channels)
        for (row in rows) for (column in columns)
            add(sum, width, image.channels, scale, row, column, network(cut(image, row.start, column.start)))
        val restored = IntArray(image.height * scale * image.width * scale * image.channels)
        val line = image.width * scale * image.channels
        for (y in 0 until image.height * scale) for (i in 0 until line) {
            val value = sum[y * width * image.channels + i]
            check(value.isFinite()) { "the network gives NaN or infinity; the model or its weights are broken" }
            restored[y * line + i] = round(value.coerceIn(0f, 1f) * image.peak.toFloat()).toInt()
        }
        return Pixels(image.height * scale, image.width * scale, image.channels, image.peak, restored)
    }

    /** Zero over the outer quarter of the overlap, where a tile lacks context, then a linear ramp. */
    private fun ramp(i: Int) = ((i + 0.5 - overlap / 4.0) / max(overlap / 2.0, 1.0)).coerceIn(1e-6, 1.0)

    private fun rise(i: Int, start: Int) = if (start > 0) ramp(i) else 1.0

    private fun fall(i: Int, start: Int, padded: Int) = if (start + tile < padded) ramp(tile - 1 - i) else 1.0

    private fun cut(image: Pixels, top: Int, left: Int): FloatArray {
        val values = FloatArray(tile * tile * image.channels)
        var next = 0
        for (y in top until top + tile) for (x in left until left + tile) {
            val pixel = reflect(y, image.height) * image.width + reflect(x, image.width)
            for (c in 0 until image.channels)
                values[next++] = image.values[pixel * image.channels + c] / image.peak.toFloat()
        }
        return values
    }

    /** Beyond the bottom and the right of the image its reflection goes on. */
    private fun reflect(i: Int, size: Int): Int {
        if (size == 1) return 0
        val turned = i % (2 * (size - 1))
        return min(turned, 2 * (size - 1) - turned)
    }

    private fun add(
        sum: FloatArray, width: Int, channels: Int, scale: Int, row: Span, column: Span, output: FloatArray
    ) {
        val side = tile * scale
        for (y in 0 until side) for (x in 0 until side) {
            val weight = row.weights[y / scale] * column.weights[x / scale]
            val target = ((row.start * scale + y) * width + column.start * scale + x) * channels
            for (c in 0 until channels) sum[target + c] += output[(y * side + x) * channels + c] * weight
        }
    }
}
