//! Why outputs could not be decoded.

/// Why the outputs of a model, or those of one image, could not be decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// No layout fits what the model declares.
    #[error("expected outputs of one of these layouts: {needed}; found {found}")]
    NoDecoder {
        /// The outputs with their shapes.
        found: String,
        /// The layouts there are.
        needed: String,
    },
    /// The model says that it does something no decoder here is for.
    #[error("no decoder for the task {task:?}: expected `detect` or `classify`")]
    Task {
        /// The task in the model's metadata.
        task: String,
    },
    /// An output the layout needs is not there, or it is not clear which one it is.
    #[error("expected one output {expected}, found {found}")]
    NoOutput {
        /// What it should be.
        expected: String,
        /// The outputs there are, with their shapes.
        found: String,
    },
    /// An output has other dimensions than its layout asks for.
    #[error("output {output:?}: expected {expected} f32, found {found}")]
    Shape {
        /// Its name.
        output: String,
        /// The dimensions the layout asks for.
        expected: String,
        /// Its dimensions, `?` for one left open.
        found: String,
    },
    /// A tensor has more or fewer values than its shape says.
    #[error("output {output:?}: expected the values of {shape}, found {found} values")]
    Values {
        /// Its name.
        output: String,
        /// Its dimensions.
        shape: String,
        /// How many values it has.
        found: usize,
    },
    /// A tensor has more or fewer rows than the batch has images: nothing of the run can be assigned.
    #[error("output {output:?}: expected rows of {expected} images, found {found}")]
    Rows {
        /// Its name.
        output: String,
        /// Images in the batch.
        expected: usize,
        /// Images in the tensor.
        found: usize,
    },
    /// A row names an image that is not in the batch: nothing of the run can be assigned.
    #[error("output {output:?}: row {row}: expected an image below {batch}, found {found}")]
    ImageIndex {
        /// Its name.
        output: String,
        /// The row.
        row: usize,
        /// Images in the batch.
        batch: usize,
        /// What the row says.
        found: f32,
    },
    /// A score or box of this image is not a finite number.
    #[error("output {output:?}: image {image} has a score or box that is not finite")]
    NonFinite {
        /// Its name.
        output: String,
        /// The image, its slot in the batch.
        image: usize,
    },
    /// A detection of this image is of a class there cannot be.
    #[error("output {output:?}: image {image}: expected a class id below {classes}, found {found}")]
    ClassId {
        /// Its name.
        output: String,
        /// The image, its slot in the batch.
        image: usize,
        /// Number of classes.
        classes: usize,
        /// What the row says.
        found: f32,
    },
}
