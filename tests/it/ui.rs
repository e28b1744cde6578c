//! What the compiler says of the mistakes that are easy to make.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("it/ui/*.rs");
}
