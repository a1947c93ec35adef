"""The large models: applications, backbones of keras-hub, and trained models out of wheels."""

from __future__ import annotations

from dataclasses import replace

from tasks.domain.release import ModelFormat
from tests.zoo.row import BATCH, Dim, ZooModel

SIZES = {
    "EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300, "EfficientNetB4": 380,
    "EfficientNetB5": 456, "EfficientNetB6": 528, "EfficientNetB7": 600, "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260, "EfficientNetV2B3": 300, "EfficientNetV2S": 384, "EfficientNetV2M": 480,
    "EfficientNetV2L": 480, "InceptionResNetV2": 299, "InceptionV3": 299, "NASNetLarge": 331,
    "Xception": 299,
}  # fmt: skip
"""Height and width of the pictures that an application is made for, where it is not 224."""

# The most work first, so that all workers end at about the same time.
_APPLICATIONS = (  # noqa: SIM905 (one name a line would be forty lines)
    "EfficientNetV2L EfficientNetB7 NASNetLarge ConvNeXtXLarge EfficientNetB6 EfficientNetV2M ConvNeXtLarge "
    "EfficientNetB5 InceptionResNetV2 VGG19 VGG16 ConvNeXtBase EfficientNetB4 ResNet152 ResNet152V2 "
    "EfficientNetV2S DenseNet201 ConvNeXtSmall ResNet101 ResNet101V2 DenseNet169 Xception InceptionV3 "
    "EfficientNetB3 ConvNeXtTiny NASNetMobile EfficientNetV2B3 DenseNet121 ResNet50 ResNet50V2 "
    "EfficientNetB2 EfficientNetB1 EfficientNetV2B2 EfficientNetB0 EfficientNetV2B1 EfficientNetV2B0 "
    "MobileNetV3Large MobileNetV2 MobileNetV3Small MobileNet"
).split()


def _application(name: str) -> ZooModel:
    size = SIZES.get(name, 224)
    return ZooModel(
        name=name,
        builder="applications",
        form=ModelFormat.KERAS,
        inputs={"image": (BATCH, size, size, 3)},
    )


APPLICATIONS = tuple(_application(name) for name in _APPLICATIONS)

_TOKENS: tuple[Dim, ...] = (BATCH, (4, 8, 16))
_MASKED = {"token_ids": _TOKENS, "padding_mask": _TOKENS}
_SEGMENTED = {**_MASKED, "segment_ids": _TOKENS}
_TWO_SIDED = {
    "encoder_token_ids": (BATCH, (5, 9, 14)),
    "encoder_padding_mask": (BATCH, (5, 9, 14)),
    "decoder_token_ids": _TOKENS,
    "decoder_padding_mask": _TOKENS,
}
_BACKBONES: dict[str, dict[str, tuple[Dim, ...]]] = {
    "Bert": _SEGMENTED,
    "Roberta": _MASKED,
    "GPT2": _MASKED,
    "Whisper": {
        "encoder_features": (BATCH, (16, 32, 64), 8),
        "decoder_token_ids": _TOKENS,
        "decoder_padding_mask": _TOKENS,
    },
    "ViT": {"images": (BATCH, 32, 32, 3)},
    "T5": _TWO_SIDED,
    "Llama": _MASKED,
    "DistilBert": _MASKED,
    "Albert": _SEGMENTED,
    "Electra": _SEGMENTED,
    "DebertaV3": _MASKED,
    "OPT": _MASKED,
    "Bart": _TWO_SIDED,
    "Mistral": _MASKED,
    "Gemma": _MASKED,
}

BACKBONES = tuple(
    ZooModel(name=name, builder="backbones", form=ModelFormat.SAVED_MODEL, inputs=inputs, needs="hub")
    for name, inputs in _BACKBONES.items()
)


def _trained(
    name: str, form: ModelFormat, refused: str = "", reason: str = "", **inputs: tuple[Dim, ...]
) -> ZooModel:
    return ZooModel(
        name=name, builder="trained", form=form, inputs=inputs, refused=refused, reason=reason, needs="wheels"
    )


_DNA: Dim = (10101, 10501, 11001)
TRAINED = (
    _trained("spliceai", ModelFormat.H5, input_1=(BATCH, _DNA, 4)),
    replace(  # takes logarithms: its own noise on drawn numbers is 4e-4, and adds up
        _trained("basic_pitch", ModelFormat.SAVED_MODEL, input_2=(BATCH, 43844, 1)),
        tolerance=5e-3,
        only_fp32="off by 1e-1",
    ),
    _trained(
        "deeplc",
        ModelFormat.KERAS,
        input_layer=(BATCH, 60, 6),
        input_layer_1=(BATCH, 30, 6),
        input_layer_2=(BATCH, 55),
        input_layer_3=(BATCH, 60, 20),
    ),
    _trained("fer", ModelFormat.H5, input_1=(BATCH, 64, 64, 1)),
    _trained("astrorapid_lstm", ModelFormat.H5),
    _trained("mmsplice_donor", ModelFormat.H5, ss=(BATCH, 18, 4)),
    _trained("mmsplice_intron", ModelFormat.H5, input_5=(BATCH, (50, 100, 200), 4)),
    _trained("mmsplice_acceptor", ModelFormat.H5, "ModelUnreadable", "ConvDNA", ss=(BATCH, 53, 4)),
    _trained("astrorapid_tcn", ModelFormat.H5, "ModelUnreadable", "TCN", input_1=(BATCH, 50, 3)),
    _trained("guesslang", ModelFormat.SAVED_MODEL, "ModelRefused", "string"),
)
