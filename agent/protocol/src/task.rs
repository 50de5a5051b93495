//! What outputs mean and what is right: words that suites are written in and runs are recorded in. The agent needs
//! none of them.

use crate::{Metric, Sha256Hex, metric};
use serde::{Deserialize, Serialize};

/// Numbers of a box among labels: a class, four of the box, and 1 for a crowd or 0.
pub const BOX_NUMBERS: usize = 6;

/// Longest alphabet.
pub const MAX_ALPHABET: usize = 65_536;

/// What outputs mean, and by which score they are judged. In a suite the name is `task`, and what else is said here
/// stands in `[score]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "task", deny_unknown_fields)]
pub enum Task {
    /// The first output has one value per class.
    Classification {
        /// Right is what has its label among so many greatest values.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        top: u32,
        /// Judged by F1 instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        f1: Option<Averaging>,
        /// The class of F1 = `binary`.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        positive: u32,
    },
    /// One value says how likely the positive class is: area under the ROC curve.
    Binary {
        /// The class, among the labels, that counts as positive.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        positive: u32,
        /// Which value of the first output; without it the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<u32>,
    },
    /// The first output tells the class of every pixel: mean intersection over union.
    Segmentation {
        /// Pixels with this label count for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ignored: Option<u32>,
        /// Where the values of a pixel's classes lie.
        #[serde(default)]
        channels: Channels,
    },
    /// Outputs are boxes, their classes, their scores, and how many there are: mean average precision.
    Detection {
        /// Position of the output with four numbers per box.
        #[serde(default)]
        boxes: u32,
        /// Position of the output with a class per box.
        #[serde(default = "one")]
        classes: u32,
        /// Position of the output with a score per box.
        #[serde(default = "two")]
        scores: u32,
        /// Position of the output that says how many boxes there are; without it output 3 where that is one
        /// number, else all are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// What the four numbers are.
        #[serde(default)]
        corners: Corners,
    },
    /// The first output is a text, step by step: word or character error rate.
    Text {
        /// What an error is counted in.
        #[serde(default)]
        unit: TextUnit,
        /// How a text is read.
        #[serde(default)]
        decode: Decode,
        /// One character for each value of a step; without it the names of the classes are the parts of a text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alphabet: Option<String>,
        /// The value that says "nothing" (CTC), or ends a text.
        #[serde(default)]
        blank: u32,
    },
    /// One value that rises with the truth: Spearman's rank correlation.
    Regression {
        /// Which value of the first output.
        #[serde(default, skip_serializing_if = "is_zero")]
        value: u32,
    },
    /// The first output is the image, or any other signal, that is wanted: peak signal-to-noise ratio.
    Reconstruction {
        /// The greatest possible value: 1 or 255.
        #[serde(default = "unit_peak")]
        peak: f64,
    },
    /// No labels: agreement with the reference only.
    Agreement {},
}

/// Over what F1 is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaging {
    /// Of the positive class alone.
    Binary,
    /// The mean over classes.
    Macro,
    /// Of all classes together.
    Micro,
}

/// Where the values of a pixel's classes lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// One after the other: height × width × classes.
    #[default]
    Last,
    /// One plane per class: classes × height × width.
    First,
    /// There are none: the output is the class of each pixel.
    None,
}

/// What the four numbers of a box are, of answers and labels alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corners {
    /// Top, left, bottom, right: TFLite's detection post-processing.
    #[default]
    Yxyx,
    /// Left, top, right, bottom.
    Xyxy,
    /// Left, top, width, height: COCO.
    Xywh,
    /// Middle, then width and height: YOLO.
    Cxcywh,
}

impl Corners {
    /// Left, top, width and height.
    pub fn bounds(self, [a, b, c, d]: [f64; 4]) -> [f64; 4] {
        match self {
            Self::Yxyx => [b, a, d - b, c - a],
            Self::Xyxy => [a, b, c - a, d - b],
            Self::Xywh => [a, b, c, d],
            Self::Cxcywh => [a - c / 2.0, b - d / 2.0, c, d],
        }
    }
}

/// What errors of a text are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextUnit {
    /// Separated by white space.
    #[default]
    Words,
    /// Every one but white space at the ends.
    Characters,
}

/// How a text is read from an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decode {
    /// The greatest value of each step; repeated ones are one, blanks are dropped.
    #[default]
    Ctc,
    /// The greatest value of each step, up to the first blank.
    Greedy,
    /// The output is the position in the alphabet itself, up to the first blank.
    Tokens,
}

/// What labels a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// A class per example.
    Classes,
    /// A number per example.
    Values,
    /// A text per example.
    Texts,
    /// As many numbers per example as the output has, or one per pixel.
    Arrays,
    /// Rows of [`BOX_NUMBERS`]; a class of −1 fills up.
    Boxes,
}

/// What is right, example by example.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// Nobody knows.
    #[default]
    None,
    /// Index of the right class.
    Classes(Vec<u32>),
    /// A number.
    Values(Vec<f64>),
    /// A text.
    Texts(Vec<String>),
    /// Many numbers.
    Arrays(LabelArrays),
}

/// As many numbers for every example, example after example. Two are equal when their bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelArrays {
    /// Hash of the numbers as little-endian f32; in a record, the file of outputs that holds them.
    pub sha256: Sha256Hex,
    /// Numbers per example.
    pub elements: u64,
    /// The numbers, where they were read.
    #[serde(skip)]
    pub values: Option<Vec<f32>>,
}

impl LabelArrays {
    /// `values` are `elements` numbers for each example.
    pub fn new(elements: u64, values: Vec<f32>) -> Self {
        Self { sha256: Sha256Hex::of_bytes(&le_bytes(&values)), elements, values: Some(values) }
    }

    /// What is hashed and kept.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.values.as_deref().map(le_bytes)
    }
}

impl PartialEq for LabelArrays {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.elements == other.elements
    }
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

impl Labels {
    /// True where nothing is known.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Classes; none of another kind.
    pub fn classes(&self) -> &[u32] {
        match self {
            Self::Classes(classes) => classes,
            _ => &[],
        }
    }

    /// How many examples they are for; `None` where they are for any number.
    pub fn examples(&self) -> Option<u64> {
        Some(match self {
            Self::None => return None,
            Self::Classes(all) => all.len() as u64,
            Self::Values(all) => all.len() as u64,
            Self::Texts(all) => all.len() as u64,
            Self::Arrays(LabelArrays { elements, values, .. }) => {
                (values.as_ref()?.len() as u64).checked_div(*elements)?
            }
        })
    }
}

impl Task {
    /// Top-1.
    pub const CLASSIFICATION: Self = Self::Classification { top: 1, f1: None, positive: 1 };

    /// Every kind, as suites name it.
    pub const NAMES: [&str; 8] = [
        "classification",
        "binary",
        "segmentation",
        "detection",
        "text",
        "regression",
        "reconstruction",
        "agreement",
    ];

    /// Every metric that [`Self::metric`] may name.
    pub const METRICS: [&str; 11] = [
        "accuracy_top1",
        "accuracy_topk",
        "f1",
        "roc_auc",
        "mean_iou",
        "mean_ap",
        "wer",
        "cer",
        "spearman",
        "psnr_db",
        "agreement_top1",
    ];

    /// The metric that decides whether the task is done as well.
    pub fn metric(&self) -> &'static Metric {
        let name = match self {
            Self::Classification { f1: Some(_), .. } => "f1",
            Self::Classification { top: 1, .. } => "accuracy_top1",
            Self::Classification { .. } => "accuracy_topk",
            Self::Binary { .. } => "roc_auc",
            Self::Segmentation { .. } => "mean_iou",
            Self::Detection { .. } => "mean_ap",
            Self::Text { unit: TextUnit::Words, .. } => "wer",
            Self::Text { unit: TextUnit::Characters, .. } => "cer",
            Self::Regression { .. } => "spearman",
            Self::Reconstruction { .. } => "psnr_db",
            Self::Agreement {} => "agreement_top1",
        };
        metric(name).expect("every task has its line in METRICS, as a test says")
    }

    /// The labels it needs; `None` for agreement.
    pub fn labels(&self) -> Option<LabelKind> {
        match self {
            Self::Classification { .. } | Self::Binary { .. } => Some(LabelKind::Classes),
            Self::Segmentation { .. } | Self::Reconstruction { .. } => Some(LabelKind::Arrays),
            Self::Detection { .. } => Some(LabelKind::Boxes),
            Self::Text { .. } => Some(LabelKind::Texts),
            Self::Regression { .. } => Some(LabelKind::Values),
            Self::Agreement {} => None,
        }
    }

    /// Whether all can be true that is said.
    ///
    /// # Errors
    /// The key of `[score]`, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, problem: &str| Err((key, problem.to_owned()));
        match self {
            Self::Classification { top: 0, .. } => wrong("top", "is 0: it must be at least 1"),
            Self::Classification { top: 2.., f1: Some(_), .. } => {
                wrong("f1", "goes without top: keep one of them")
            }
            Self::Classification { f1, positive, .. } if *f1 != Some(Averaging::Binary) && *positive != 1 => {
                wrong("positive", "is used with f1 = \"binary\" alone: leave it out")
            }
            Self::Detection { boxes, classes, scores, count, .. } => {
                let mut all = vec![*boxes, *classes, *scores];
                all.extend(count);
                all.sort_unstable();
                match all.windows(2).any(|pair| pair[0] == pair[1]) {
                    true => wrong("boxes", "and classes, scores and count must be different outputs"),
                    false => Ok(()),
                }
            }
            Self::Text { alphabet: Some(alphabet), .. } if alphabet.chars().nth(MAX_ALPHABET).is_some() => {
                wrong("alphabet", &format!("has more than {MAX_ALPHABET} characters"))
            }
            Self::Text { alphabet: Some(alphabet), blank, .. }
                if *blank as usize >= alphabet.chars().count() =>
            {
                wrong("blank", "lies beyond the alphabet: it counts from 0")
            }
            Self::Reconstruction { peak } if !(*peak > 0.0 && peak.is_finite()) => {
                wrong("peak", "must be a number above 0")
            }
            _ => Ok(()),
        }
    }
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn unit_peak() -> f64 {
    1.0
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Task {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_task_has_a_name_and_a_metric() {
        for name in Task::NAMES {
            let task = read(&format!("{{\"task\":\"{name}\"}}"));
            assert!(task.check().is_ok() && Task::METRICS.contains(&task.metric().name), "{name}");
            assert_eq!(read(&serde_json::to_string(&task).unwrap()), task);
        }
        assert_eq!(read("{\"task\":\"classification\"}"), Task::CLASSIFICATION);
        assert_eq!(read("{\"task\":\"classification\",\"top\":5}").metric().name, "accuracy_topk");
        assert_eq!(read("{\"task\":\"classification\",\"f1\":\"macro\"}").metric().name, "f1");
        assert_eq!(read("{\"task\":\"text\",\"unit\":\"characters\"}").metric().name, "cer");
        assert!(Task::METRICS.iter().all(|name| metric(name).is_some()));
        assert!(serde_json::from_str::<Task>("{\"task\":\"classification\",\"k\":5}").is_err());
    }

    #[test]
    fn contradictions_are_named() {
        for (text, key) in [
            ("{\"task\":\"classification\",\"top\":0}", "top"),
            ("{\"task\":\"classification\",\"top\":2,\"f1\":\"macro\"}", "f1"),
            ("{\"task\":\"classification\",\"positive\":0}", "positive"),
            ("{\"task\":\"detection\",\"scores\":1}", "boxes"),
            ("{\"task\":\"text\",\"alphabet\":\"ab\",\"blank\":2}", "blank"),
            ("{\"task\":\"reconstruction\",\"peak\":0}", "peak"),
        ] {
            assert_eq!(read(text).check().unwrap_err().0, key, "{text}");
        }
    }

    #[test]
    fn boxes_by_their_corners() {
        let expected = [10.0, 20.0, 30.0, 40.0];
        for (corners, numbers) in [
            (Corners::Yxyx, [20.0, 10.0, 60.0, 40.0]),
            (Corners::Xyxy, [10.0, 20.0, 40.0, 60.0]),
            (Corners::Xywh, expected),
            (Corners::Cxcywh, [25.0, 40.0, 30.0, 40.0]),
        ] {
            assert_eq!(corners.bounds(numbers), expected);
        }
    }

    #[test]
    fn labels_know_their_number() {
        assert_eq!(Labels::None.examples(), None);
        assert_eq!(Labels::Classes(vec![0, 1]).examples(), Some(2));
        let arrays = LabelArrays::new(2, vec![0.0; 6]);
        let read: LabelArrays = serde_json::from_str(&serde_json::to_string(&arrays).unwrap()).unwrap();
        assert!(read == arrays && read.values.is_none());
        assert_eq!(Labels::Arrays(arrays).examples(), Some(3));
    }
}
