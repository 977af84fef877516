//! Functions of single elements and their derivatives, made of operations that every backend of burn has.

use std::f32::consts::FRAC_1_SQRT_2;

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;

use super::composed::{at_least, at_most, clamp, clamp_backward, without};
use super::operator::Curve;

/// The normal distribution's density at 0: `1 / sqrt(2 pi)`.
const DENSITY: f32 = 0.398_942_3;

/// Factors of Gelu by a hyperbolic tangent: `sqrt(2 / pi)` and that of the cube, by ONNX's `Gelu`.
const BEND: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `factor * x + term`.
fn line<B: Backend>(x: &FloatTensor<B>, factor: f32, term: f32) -> FloatTensor<B> {
    B::float_add_scalar(B::float_mul_scalar(x.clone(), factor.into()), term.into())
}

pub(super) fn curve<B: Backend>(curve: Curve, input: &FloatTensor<B>) -> FloatTensor<B> {
    let x = input.clone();
    match curve {
        Curve::Leaky(slope) => {
            let sloped = B::float_mul_scalar(x.clone(), slope.into());
            B::float_mask_where(sloped, at_least::<B>(x.clone(), 0.0), x)
        }
        Curve::Sigmoid => B::sigmoid(x),
        Curve::HardSigmoid { alpha, beta } => clamp::<B>((0.0, 1.0), &line::<B>(&x, alpha, beta)),
        Curve::HardSwish => {
            let gate = clamp::<B>((0.0, 1.0), &line::<B>(&x, 1.0 / 6.0, 0.5));
            B::float_mul(x, gate)
        }
        Curve::Gelu => B::float_mul(x.clone(), normal_below::<B>(x)),
        Curve::TanhGelu => {
            let bend = B::float_tanh(bend::<B>(&x));
            B::float_mul(x, line::<B>(&bend, 0.5, 0.5))
        }
        Curve::Softplus => softplus::<B>(x),
        Curve::Mish => B::float_mul(x.clone(), B::float_tanh(softplus::<B>(x))),
    }
}

pub(super) fn curve_backward<B: Backend>(
    curve: Curve,
    input: &FloatTensor<B>,
    gradient: &FloatTensor<B>,
) -> FloatTensor<B> {
    let (x, gradient) = (input.clone(), gradient.clone());
    match curve {
        Curve::Leaky(slope) => {
            let sloped = B::float_mul_scalar(gradient.clone(), slope.into());
            B::float_mask_where(sloped, at_least::<B>(x, 0.0), gradient)
        }
        Curve::Sigmoid => B::sigmoid_backward(B::sigmoid(x), gradient),
        Curve::HardSigmoid { alpha, beta } => {
            let gate = clamp::<B>((0.0, 1.0), &line::<B>(&x, alpha, beta));
            let sloped = B::float_mul_scalar(gradient, alpha.into());
            clamp_backward::<B>((0.0, 1.0), &gate, &sloped)
        }
        Curve::HardSwish => {
            let slope = line::<B>(&x, 1.0 / 3.0, 0.5);
            let slope = without::<B>(slope, at_most::<B>(x.clone(), -3.0));
            let beyond = B::bool_not(at_most::<B>(x, 3.0));
            let slope = B::float_mask_fill(slope, beyond, 1.0.into());
            B::float_mul(gradient, slope)
        }
        Curve::Gelu => {
            let exponent = B::float_mul_scalar(B::float_mul(x.clone(), x.clone()), (-0.5).into());
            let density = B::float_mul_scalar(B::float_exp(exponent), DENSITY.into());
            let slope = B::float_add(normal_below::<B>(x.clone()), B::float_mul(x, density));
            B::float_mul(gradient, slope)
        }
        Curve::TanhGelu => {
            let tanh = B::float_tanh(bend::<B>(&x));
            let square = B::float_mul(x.clone(), x.clone());
            let inner = line::<B>(&square, 3.0 * CUBIC * BEND, BEND);
            let inner = B::float_mul(B::float_mul(x, one_minus_square::<B>(&tanh)), inner);
            let slope = B::float_add(line::<B>(&tanh, 0.5, 0.5), B::float_mul_scalar(inner, 0.5.into()));
            B::float_mul(gradient, slope)
        }
        Curve::Softplus => B::float_mul(gradient, B::sigmoid(x)),
        Curve::Mish => {
            let tanh = B::float_tanh(softplus::<B>(x.clone()));
            let inner = B::float_mul(
                B::float_mul(x.clone(), B::sigmoid(x)),
                one_minus_square::<B>(&tanh),
            );
            B::float_mul(gradient, B::float_add(tanh, inner))
        }
    }
}

/// How much of the normal distribution lies below.
fn normal_below<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let scaled = B::float_mul_scalar(x, FRAC_1_SQRT_2.into());
    line::<B>(&B::float_erf(scaled), 0.5, 0.5)
}

/// What Gelu takes the hyperbolic tangent of.
fn bend<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    B::float_mul(x.clone(), line::<B>(&square, CUBIC * BEND, BEND))
}

fn one_minus_square<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    line::<B>(&B::float_mul(x.clone(), x.clone()), -1.0, 1.0)
}

/// `ln(1 + exp(x))`, without an overflow.
fn softplus<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shrunk = B::float_exp(B::float_neg(B::float_abs(x.clone())));
    B::float_add(B::float_clamp_min(x, 0.0.into()), B::float_log1p(shrunk))
}
