//! Runs through memory that is bound to the session, for providers on a device of their own.
//!
//! Each size of batch has one input tensor in host memory that the device reads directly, filled in place, and results
//! that the provider copies back once. Batches run at the sizes of [`Buckets`]; the rows that fill one up are zero, and
//! the results of those are cut off.
//!
//! With the feature `pinned` the memory of CUDA and TensorRT is pinned, which `ort` can look into only with the
//! interface of ONNX Runtime 1.23. Without it, it is ordinary memory, and the driver copies once more on its own.

use super::buckets::Buckets;
use super::model::{Batch, ElementType, ModelDescription};
use super::tensor::{Input, InputData, MAX_TENSOR_BYTES};
use super::worker::Purpose;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType};
use std::collections::BTreeMap;

/// The memory on the host's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostMemory {
    /// As any other.
    Ordinary,
    /// Pinned, for the CUDA device of that number.
    Pinned(u32),
}

impl HostMemory {
    /// What this build can use for CUDA's device of that number.
    pub(super) const fn for_cuda(device_id: u32) -> Self {
        if cfg!(feature = "pinned") { Self::Pinned(device_id) } else { Self::Ordinary }
    }

    fn info(self, kind: MemoryType) -> ort::Result<MemoryInfo<'static>> {
        let (device, id) = match self {
            Self::Ordinary => (AllocationDevice::CPU, 0),
            Self::Pinned(id) => (AllocationDevice::CUDA_PINNED, i32::try_from(id).unwrap_or_default()),
        };
        MemoryInfo::new(device, id, AllocatorType::Device, kind)
    }
}

/// One size of batch. Fields are dropped in this order: the tensor's memory belongs to the binding's session.
struct Slot {
    tensor: DynTensor,
    binding: IoBinding,
}

/// The bound memory of one session. To be dropped before it.
pub(super) struct Bindings {
    slots: BTreeMap<usize, Slot>,
    buckets: Buckets,
    memory: HostMemory,
    input: String,
    element: ElementType,
    row_len: usize,
    /// As many rows as come, always.
    fixed: bool,
}

/// What a run through bound memory gave, and how many rows of it are padding.
pub(super) struct Padded<'a> {
    pub(super) results: SessionOutputs<'a>,
    /// Rows that were run, if that is more than were asked for.
    pub(super) padded_to: Option<usize>,
}

impl Bindings {
    pub(super) const fn new(model: &ModelDescription, input: String, memory: HostMemory) -> Self {
        Self {
            slots: BTreeMap::new(),
            buckets: Buckets::new(model.opened.limit),
            memory,
            input,
            element: model.element,
            row_len: model.row_len,
            fixed: matches!(model.batch, Batch::Fixed(_)),
        }
    }

    /// Rows a batch of `rows` is run with.
    fn size_for(&mut self, rows: usize, purpose: Purpose) -> usize {
        if purpose == Purpose::WarmUp {
            self.buckets.warm(rows);
        }
        let size = self.buckets.size_for(rows);
        let bytes = size.saturating_mul(self.row_len).saturating_mul(self.element.bytes());
        if self.fixed || purpose == Purpose::WarmUp || bytes > MAX_TENSOR_BYTES { rows } else { size }
    }

    /// Runs a batch; `shape` are the dimensions of a row.
    pub(super) fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        input: &Input,
        purpose: Purpose,
        shape: [i64; 3],
    ) -> ort::Result<Padded<'a>> {
        let rows = input.data.len() / self.row_len.max(1);
        let size = self.size_for(rows, purpose);
        if !self.slots.contains_key(&size) {
            let slot = self.slot(session, size, shape)?;
            self.slots.insert(size, slot);
        }
        let slot = self.slots.get_mut(&size).ok_or_else(|| ort::Error::new("no memory for this size"))?;
        match &input.data {
            InputData::F32(data) => fill(&mut slot.tensor, data),
            InputData::F16(data) => fill(&mut slot.tensor, data),
            InputData::U8(data) => fill(&mut slot.tensor, data),
        }?;
        let results = session.run_binding(&slot.binding)?;
        Ok(Padded { results, padded_to: Some(size).filter(|size| *size > rows) })
    }

    fn slot(&self, session: &Session, size: usize, [a, b, c]: [i64; 3]) -> ort::Result<Slot> {
        let element = match self.element {
            ElementType::F32 => TensorElementType::Float32,
            ElementType::F16 => TensorElementType::Float16,
            ElementType::U8 => TensorElementType::Uint8,
        };
        let allocator = Allocator::new(session, self.memory.info(MemoryType::CPUInput)?)?;
        let rows = i64::try_from(size).map_err(|error| ort::Error::new(error.to_string()))?;
        let tensor = DynTensor::new(&allocator, element, [rows, a, b, c])?;
        let mut binding = session.create_binding()?;
        binding.bind_input(self.input.as_str(), &tensor)?;
        let out = self.memory.info(MemoryType::CPUOutput)?;
        for output in session.outputs() {
            binding.bind_output_to_device(output.name(), &out)?;
        }
        Ok(Slot { tensor, binding })
    }
}

/// Writes `data` to the front of the tensor and zeros behind it.
fn fill<T: PrimitiveTensorElementType + Copy + Default>(
    tensor: &mut DynTensor,
    data: &[T],
) -> ort::Result<()> {
    let (_, memory) = tensor.try_extract_tensor_mut::<T>()?;
    let Some((front, padding)) = memory.split_at_mut_checked(data.len()) else {
        return Err(ort::Error::new(format!(
            "expected at most {} elements, found {}",
            memory.len(),
            data.len()
        )));
    };
    front.copy_from_slice(data);
    padding.fill(T::default());
    Ok(())
}
