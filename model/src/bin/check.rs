//! `zabra-check`: explores the model.
fn main() {}
