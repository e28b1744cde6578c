//! The model: layers of neurons, with weights that a seed determines.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Result, Tensor};
use candle_nn::{Linear, Module as _};

/// Layers that are each wholly connected with the next.
pub(crate) struct Network {
    layers: Vec<Linear>,
    passes: AtomicUsize,
}

impl Network {
    /// Makes layers of these widths, from the inputs to the outputs.
    pub(crate) fn new(widths: &[usize], seed: u64) -> Result<Self> {
        // The device's own generator cannot be seeded on a CPU.
        let mut random = fastrand::Rng::with_seed(seed);
        let layers = widths.windows(2).map(|pair| {
            let (inputs, outputs) = (pair[0], pair[1]);
            // So that numbers are as large behind a layer as before it.
            let bound = (6.0 / inputs as f32).sqrt();
            let mut numbers = |count: usize, bound: f32| -> Vec<f32> {
                let number = || bound * (2.0 * random.f32() - 1.0);
                std::iter::repeat_with(number).take(count).collect()
            };
            let weights = numbers(outputs * inputs, bound);
            let weights = Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu)?;
            let bias = Tensor::from_vec(numbers(outputs, 0.1), outputs, &Device::Cpu)?;
            Ok(Linear::new(weights, Some(bias)))
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            passes: AtomicUsize::new(0),
        })
    }

    /// The outputs for each of the inputs, by one forward pass for all of them. Each layer's weights
    /// are read from memory once for all: this is where a batch gains.
    pub(crate) fn run(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        let (last, hidden) = self.layers.split_last().expect("a network has layers");
        let width = inputs.first().map_or(0, Vec::len);
        let mut numbers = Tensor::from_vec(inputs.concat(), (inputs.len(), width), &Device::Cpu)?;
        for layer in hidden {
            numbers = layer.forward(&numbers)?.relu()?;
        }
        last.forward(&numbers)?.to_vec2()
    }

    /// How many forward passes there have been since the last call.
    pub(crate) fn take_passes(&self) -> usize {
        self.passes.swap(0, Ordering::Relaxed)
    }
}

/// Inputs of this width, the same for the same seed.
pub(crate) fn inputs(count: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut input = || (0..width).map(|_| 2.0 * random.f32() - 1.0).collect();
    (0..count).map(|_| input()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::compare;

    #[test]
    fn a_batch_gives_what_each_input_gives_alone() {
        let network = Network::new(&[48, 64, 32, 5], 1).unwrap();
        let inputs = inputs(17, 48, 2);
        let batched = network.run(&inputs).unwrap();
        assert_eq!(network.take_passes(), 1);
        let alone: Vec<_> = inputs
            .iter()
            .flat_map(|input| network.run(std::slice::from_ref(input)).unwrap())
            .collect();
        assert_eq!(network.take_passes(), 17);
        compare(&batched, &alone).unwrap();
        // Another input has another answer, or this would show nothing.
        compare(&batched[..1], &alone[1..2]).unwrap_err();
    }

    #[test]
    fn the_seed_makes_the_weights() {
        let inputs = inputs(1, 48, 2);
        let answer = |seed| Network::new(&[48, 64, 5], seed).unwrap().run(&inputs);
        assert_eq!(answer(1).unwrap(), answer(1).unwrap());
        assert_ne!(answer(1).unwrap(), answer(2).unwrap());
    }

    #[test]
    fn an_input_of_another_width_is_an_error() {
        let network = Network::new(&[48, 64, 5], 1).unwrap();
        assert!(network.run(&inputs(3, 47, 2)).is_err());
    }
}
