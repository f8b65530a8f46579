"""How the figures of an evaluation of synthetic radiographs came about, in words."""

from pneumoscope.study.synthetic_data import BLUR_PX
from pneumoscope.study.synthetic_distances import MAX_SIZE, N_DRAWS


def method_lines(
    bundle_name: str, *, size_px: int, k: int, matched_blur_px: float | None
) -> list[str]:
    """Return what a reader must know to judge the figures, a paragraph each."""
    return [
        f"Equal resolution: real radiographs are squeezed to the DCGAN's {size_px} × {size_px} "
        "pixels first, and then both they and the samples go through the bundle, which enlarges "
        "all alike. So small size by itself is no difference between them.",
        f"The embedding is that of {bundle_name}, a network trained on chest radiographs. This is "
        "neither the FID nor the KID of the literature, which are Inception's; the values can't be "
        "compared with published ones. What the embedding does not tell apart, no distance here "
        "sees.",
        f"{bundle_name} may have learnt from the very radiographs that are the reference here, and "
        "it never saw the samples. The radiographs held out (of the same class, in the tuning "
        "split: patients of whom the DCGAN saw nothing) show how far real newcomers lie.",
        "The Fréchet distance is biased upwards, the more so the fewer the pictures, and much so "
        "where they are fewer than the embedding's dimensions. Precision, recall, density and "
        "coverage hang on the number of pictures too. Read each only beside the column of real "
        "radiographs of the same number. The kernel distance (kernel (x·y / D + 1)³) is unbiased: "
        "0 is expected of one distribution, and single values can be negative.",
        f"Halves: in each of {N_DRAWS} draws the real radiographs are halved patient by patient; "
        "one half is the reference, the other the floor, and as many samples are drawn. The range "
        "in brackets is the middle 95 % of the draws: it tells how much the draw matters, and is "
        "no confidence interval.",
        f"Precision: share of samples inside the ball of some reference radiograph, which reaches "
        f"to its {k}th nearest neighbour. Recall: share of the reference inside such a ball of "
        "some sample. Density: reference balls that hold a sample, over k. Coverage: share of "
        "reference balls that hold a sample (Kynkäänniemi et al. 2019, Naeem et al. 2020).",
        f"All against all: at most {MAX_SIZE:,} of each. The kernel distance's 95 % interval is a "
        "jackknife over patients and samples; those of precision, recall and coverage are of "
        "shares, as below, and density's resamples samples, with the neighbourhoods held. The "
        "Fréchet distance has none, because resampling raises it.",
        "Memorisation: each picture's nearest training radiograph is found, in gray values (root "
        "mean square difference) and in the embedding. The picture counts as closer where it lies "
        "nearer to that radiograph than any radiograph of another patient does (Alaa et al. 2022, "
        "authenticity). Another radiograph of the same patient is no neighbour in this sense, "
        "though it may well be the nearest; of exact copies one is kept, and patients who share a "
        "picture count as one.",
        "Beside the samples stand real newcomers: patients left out one at a time, and patients "
        "held out from the DCGAN. The controls use the same training radiographs, blurred by a "
        f"Gaussian of {BLUR_PX:g} pixel{_matched_words(matched_blur_px)}. With their patients left "
        "out they show what a lack of sharpness does by itself: in gray values a smooth picture "
        f"lies nearer to everything than a sharp one. By {BLUR_PX:g} pixel with the originals left "
        "in they are planted copies, whose share found is the check's power. Copies with more blur "
        "or noise than that may escape the embedding, which heeds fine texture, though not the "
        "gray values: judge by both. A share of samples near that of the patients left out is no "
        "sign of copies.",
        "The last row takes radiographs of patients who have several, with their others left in. "
        "Where that share is as low as that of the patients left out, two radiographs of one "
        "patient are as far apart as those of two patients, and the check finds copied pictures, "
        "not drawn portraits of a patient.",
        "Intervals of shares are 95 %: Wilson's for samples and for a share of exactly 0 or 1, a "
        "trial a patient; a bootstrap by patient otherwise. The nearest radiographs are held. The "
        "shares below a percentile are of the distances of patients left out, whose own shares are "
        "5 % and 1 % by definition.",
    ]


def _matched_words(blur_px: float | None) -> str:
    """Say how the control that is as smooth as the samples was made."""
    if blur_px is None:
        return (
            " (no more was called for: of detail between one and two pixels the samples have as "
            "much as sharp radiographs)"
        )
    return (
        f", and of {blur_px:g}, which leaves them as much detail between one and two pixels as the "
        "samples have (it is fitted to the samples' sharpness, not to how near they lie)"
    )
