"""One trained tf_keras model to its TFLite and ONNX variants."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import onnx_session

TFLITE_VARIANTS = ("fp32", "fp16", "dynint8", "int8", "int16x8")
ONNX_VARIANTS = ("fp32", "fp16", "dynint8", "int8", "int8_u8s8", "int8_pertensor")
OPSET = 17


def tflite_variants(model, calibration: np.ndarray, out: Path) -> dict[str, Path]:
    """Writes every TFLite variant; `calibration` holds real inputs [n, ...] in float32."""
    import tensorflow as tf

    signature = tf.TensorSpec((1,) + calibration.shape[1:], calibration.dtype, name="input")
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)
    paths = {}
    for variant in TFLITE_VARIANTS:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
        configure(converter, variant, calibration)
        paths[variant] = out / f"model_{variant}.tflite"
        paths[variant].write_bytes(converter.convert())
    return paths


def configure(converter, variant: str, calibration: np.ndarray) -> None:
    import tensorflow as tf

    def representative() -> Iterator[list[np.ndarray]]:
        for k in range(len(calibration)):
            yield [calibration[k : k + 1]]

    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    elif variant == "int8":
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    elif variant == "int16x8":
        converter.representative_dataset = representative
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide]


def onnx_variants(model, calibration: np.ndarray, out: Path) -> dict[str, Path]:
    """Writes every ONNX variant; all of them keep float32 inputs and outputs."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxconverter_common import float16
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    paths = {variant: out / f"model_{variant}.onnx" for variant in ONNX_VARIANTS}
    signature = [tf.TensorSpec((1,) + calibration.shape[1:], calibration.dtype, name="input")]
    converted, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    onnx.save(converted, paths["fp32"])
    half = float16.convert_float_to_float16(onnx.load(paths["fp32"]), keep_io_types=True)
    onnx.save(half, paths["fp16"])

    prepared = out / "_prepared.onnx"
    quant_pre_process(paths["fp32"], prepared, skip_symbolic_shape=False)
    quantize_dynamic(prepared, paths["dynint8"], weight_type=QuantType.QInt8, per_channel=True)
    static_onnx(prepared, paths["int8"], calibration, activations="QInt8", per_channel=True)
    static_onnx(prepared, paths["int8_u8s8"], calibration, activations="QUInt8", per_channel=True)
    static_onnx(prepared, paths["int8_pertensor"], calibration, activations="QInt8", per_channel=False)
    prepared.unlink()
    return paths


def static_onnx(source: Path, target: Path, calibration: np.ndarray, activations: str, per_channel: bool) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    name = onnx_session(source).get_inputs()[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = ({name: calibration[k : k + 1]} for k in range(len(calibration)))

        def get_next(self) -> dict | None:
            return next(self.batches, None)

    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=QuantType[activations],
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
