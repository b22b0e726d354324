use super::*;

fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    file("a.rs", text, &mut scan);
    scan
}

fn proofs(text: &str) -> Vec<(String, String)> {
    let scan = scan(text);
    assert_eq!(scan.findings, Vec::<String>::new());
    scan.proofs.into_iter().map(|proof| (proof.row, proof.test)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(row, test)| ((*row).to_owned(), (*test).to_owned())).collect()
}

#[test]
fn rows_are_read_from_one_or_several_comment_lines() {
    let text = "
    // proves: MP-01, MP-100 S1-33
    #[test]
    fn one() {}

    // proves: A-01
    // proves: B-02
    #[test]
    fn two() {
        // proves nothing
    }

    // proves: A-01 A-02
    //   A-03 A-04
    // Why this test is written as it is.
    #[test]
    #[cfg(unix)]
    fn three() {}
    ";
    assert_eq!(
        proofs(text),
        pairs(&[
            ("MP-01", "one"),
            ("MP-100", "one"),
            ("S1-33", "one"),
            ("A-01", "two"),
            ("B-02", "two"),
            ("A-01", "three"),
            ("A-02", "three"),
            ("A-03", "three"),
            ("A-04", "three"),
        ])
    );
}

#[test]
fn property_tests_count_inside_and_above_their_macro() {
    let text = "
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Says what it says.
        // proves: A-01
        #[test]
        fn inside(x in 0u8..9) { prop_assert!(x < 9) }
    }
    // proves: A-02
    proptest! {
        #[test]
        fn above(x: u8) {}
    }
    // proves: A-03
    #[tokio::test]
    async fn later() {}
    ";
    assert_eq!(proofs(text), pairs(&[("A-01", "inside"), ("A-02", "above"), ("A-03", "later")]));
}

#[test]
fn attributes_may_stand_before_the_comment_and_span_lines() {
    let text = "
    // proves: A-01
    #[test]
    #[should_panic(
        expected = \"long\"
    )]
    fn wrapped() {}
    ";
    assert_eq!(proofs(text), pairs(&[("A-01", "wrapped")]));
}

#[test]
fn a_comment_above_no_test_is_reported_with_its_line() {
    for text in [
        "// proves: A-01\nfn no_test() {}\n",
        "// proves: A-01\n#[cfg(test)]\nfn no_test() {}\n",
        "// proves: A-01\nstruct Thing;\n#[test]\nfn other() {}\n",
        "// proves: A-01\nmod tests {\n#[test]\nfn other() {}\n}\n",
        "// proves: A-01\n",
    ] {
        let scan = scan(text);
        assert_eq!(scan.findings, ["a.rs:1: `proves:` stands above no test"], "{text}");
        assert!(scan.proofs.is_empty(), "{text}");
    }
}

#[test]
fn words_that_are_no_rows_are_reported() {
    let scan = scan("// proves: MP-17 MP-84…87 encoding\n#[test]\nfn t() {}\n");
    assert_eq!(scan.proofs.len(), 1);
    assert_eq!(scan.findings, ["a.rs:1: `MP-84…87` is not a row", "a.rs:1: `encoding` is not a row"]);
}
