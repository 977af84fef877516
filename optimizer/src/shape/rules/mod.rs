//! One function per family of operators: the outputs from the inputs, or what is wrong with the node.

pub(super) mod constant;
pub(super) mod elementwise;
pub(super) mod layout;
pub(super) mod matrix;
pub(super) mod normalize;
pub(super) mod quantize;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod select;
pub(super) mod window;
