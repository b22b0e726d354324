use {
    super::*,
    crate::{ErrorCode, ErrorCodeError},
    proptest::prelude::*,
};

fn written<'a>(value: &impl Field<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

fn read<'a, T: Field<'a>>(bytes: &'a [u8]) -> Result<T, FieldError> {
    let mut reader = Reader::new(bytes);
    let value = T::read(&mut reader)?;
    assert!(reader.rest().is_empty(), "all of the input is one field");
    Ok(value)
}

#[track_caller]
fn case<'a, T: Field<'a> + PartialEq + std::fmt::Debug>(value: T, bytes: &'a [u8]) {
    assert_eq!(written(&value), bytes);
    assert_eq!(read::<T>(bytes), Ok(value));
}

// proves: ENC-01
#[test]
fn integers_and_lengths_are_little_endian() {
    case(0x12_u8, &[0x12]);
    case(0x1234_u16, &[0x34, 0x12]);
    case(0x1234_5678_u32, &[0x78, 0x56, 0x34, 0x12]);
    case(0x0102_0304_0506_0708_u64, &[8, 7, 6, 5, 4, 3, 2, 1]);
    case(U24::new(0x12_3456).unwrap(), &[0x56, 0x34, 0x12]);
    let long = B0_64K::new(vec![7; 0x0102]).unwrap();
    assert_eq!(written(&long)[..2], [0x02, 0x01]);
    let longer = B0_16M::new(vec![7; 0x01_0203]).unwrap();
    assert_eq!(written(&longer)[..3], [0x03, 0x02, 0x01]);
    let many = Seq0_64K::<u16>::new(0..0x0102).unwrap();
    assert_eq!(written(&many)[..2], [0x02, 0x01]);
}

// proves: ENC-02 ENC-03
#[test]
fn a_bool_is_bit_0() {
    for (byte, value) in [(0x00, false), (0x01, true), (0xfe, false), (0x03, true), (0xff, true)] {
        assert_eq!(read::<bool>(&[byte]), Ok(value), "{byte:#x}");
    }
    assert_eq!((written(&false), written(&true)), (vec![0], vec![1]));
}

// proves: ENC-04
#[test]
fn a_u24_cannot_hold_more_than_24_bits() {
    case(U24::MAX, &[0xff, 0xff, 0xff]);
    assert_eq!(U24::new(1 << 24), None);
    assert_eq!(B0_16M::new(vec![0; 1 << 24]), Err(TooLong { len: 1 << 24, max: (1 << 24) - 1 }));
}

// proves: ENC-05 ENC-06
#[test]
fn a_u256_is_32_bytes_as_they_stand() {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes[31] = 0x80;
    case(bytes, &bytes);
}

// proves: ENC-07 LIM-04
#[test]
fn text_is_measured_in_bytes_and_never_cut_inside_a_character() {
    case(Str0_255::new("µ").unwrap(), &[2, 0xc2, 0xb5]);
    case(Str0_255::EMPTY, &[0]);
    assert!(Str0_255::new("a".repeat(255)).is_ok());
    assert_eq!(Str0_255::new("a".repeat(256)), Err(TooLong { len: 256, max: 255 }));
    let text = "a".to_owned() + &"µ".repeat(128);
    let cut = Str0_255::truncated(&text);
    assert_eq!(cut.as_bytes().len(), 255);
    assert_eq!(cut.to_str(), Ok(&text[..255]));
    let text = "µ".repeat(128);
    assert_eq!(Str0_255::truncated(&text).to_str(), Ok(&text[..254]));
}

// proves: ER-09
#[test]
fn text_of_others_is_escaped_when_displayed() {
    let text = Str0_255::from_bytes(&b"ok\n\x1b[31m\xff\"\xc2\xb5"[..]).unwrap();
    assert_eq!(text.to_string(), r#"ok\n\u{1b}[31m\xff\"µ"#);
    assert!(text.to_str().is_err());
    assert!(!format!("{text:?}").contains('\n'));
}

// proves: ENC-08 LIM-06
#[test]
fn a_b0_32_of_more_than_32_bytes_is_an_error() {
    for len in 0..=32_u8 {
        let bytes: Vec<u8> = std::iter::once(len).chain(std::iter::repeat_n(9, len.into())).collect();
        case(B0_32::new(vec![9; len.into()]).unwrap(), &bytes);
    }
    for len in 33..=255_u8 {
        let bytes: Vec<u8> = std::iter::once(len).chain(std::iter::repeat_n(9, len.into())).collect();
        assert_eq!(read::<B0_32<'_>>(&bytes), Err(FieldError::TooLong { len: len.into(), max: 32 }));
    }
    assert_eq!(B0_32::new(vec![0; 33]), Err(TooLong { len: 33, max: 32 }));
}

// proves: ENC-09 LIM-05 LIM-09
#[test]
fn byte_strings_have_prefixes_of_one_two_and_three_bytes() {
    case(B0_255::new(&[1, 2][..]).unwrap(), &[2, 1, 2]);
    case(B0_64K::new(&[1, 2][..]).unwrap(), &[2, 0, 1, 2]);
    case(B0_16M::new(&[1, 2][..]).unwrap(), &[2, 0, 0, 1, 2]);
    assert!(B0_255::new(vec![0; 255]).is_ok() && B0_255::new(vec![0; 256]).is_err());
    assert!(B0_64K::new(vec![0; 65_535]).is_ok() && B0_64K::new(vec![0; 65_536]).is_err());
    let longest = B0_64K::new(vec![3; 65_535]).unwrap();
    assert_eq!(read::<B0_64K<'_>>(&written(&longest)), Ok(longest));
}

// proves: ENC-10
#[test]
fn an_option_counts_0_or_1() {
    case(None::<u32>, &[0]);
    case(Some(0_u32), &[1, 0, 0, 0, 0]);
    assert_ne!(Some(0_u32), None);
    for count in 2..=255 {
        assert_eq!(read::<Option<u32>>(&[count, 0, 0, 0, 0]), Err(FieldError::OptionCount(count)));
    }
}

// proves: ENC-11 LIM-11
#[test]
fn sequences_count_elements() {
    case(Seq0_255::<U256>::new([[1; 32], [2; 32]]).unwrap(), &[&[2][..], &[1; 32], &[2; 32]].concat());
    case(Seq0_64K::<u32>::new([1, 2]).unwrap(), &[2, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    case(Seq0_64K::<u16>::new([1, 2]).unwrap(), &[2, 0, 1, 0, 2, 0]);
    case(Seq0_64K::<Transaction>::new([&[7, 8][..], &[]]).unwrap(), &[2, 0, 2, 0, 0, 7, 8, 0, 0, 0]);
    assert!(Seq0_64K::<u16>::new((0..65_535).map(|_| 0)).is_ok());
    assert_eq!(Seq0_64K::<u16>::new((0..65_536).map(|_| 0)), Err(TooLong { len: 65_536, max: 65_535 }));
    assert!(Seq0_64K::<U256>::from_slice(&vec![[0; 32]; 65_536]).is_err());
}

#[test]
fn a_merkle_path_has_at_most_255_hashes() {
    let path = vec![[5; 32]; 256];
    assert_eq!(Seq0_255::<U256>::from_slice(&path), Err(TooLong { len: 256, max: 255 }));
    let path = Seq0_255::<U256>::from_slice(&path[..255]).unwrap();
    assert_eq!(written(&path).len(), 1 + 255 * 32);
}

#[test]
fn sequences_give_their_elements_back() {
    let hashes = [[1; 32], [2; 32], [3; 32]];
    let seq = Seq0_255::<U256>::from_slice(&hashes).unwrap();
    assert_eq!(seq.iter().collect::<Vec<_>>(), hashes);
    assert_eq!((seq.iter().len(), seq.len()), (3, 3));
    assert_eq!((seq.get(2), seq.get(3), seq.get(usize::MAX)), (Some([3; 32]), None, None));
    assert_eq!(seq.clone().into_owned(), seq);
    let transactions = Seq0_64K::<Transaction>::new([&[1, 2][..], &[], &[3]]).unwrap();
    assert_eq!(transactions.iter().collect::<Vec<_>>(), [&[1, 2][..], &[], &[3]]);
    assert_eq!(transactions.into_iter().map(<[u8]>::len).sum::<usize>(), 3);
}

// proves: ENC-12 AM-03
#[test]
fn a_hash_rate_is_a_finite_number_that_is_not_negative() {
    case(F32::new(1.0), &[0, 0, 0x80, 0x3f]);
    for good in [0.0, -0.0, f32::MIN_POSITIVE, 1e12, f32::MAX] {
        assert_eq!(F32::new(good).get(), Ok(good));
    }
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::MIN_POSITIVE] {
        assert_eq!(F32::new(bad).get(), Err(InvalidF32(F32::new(bad))));
    }
}

// proves: ENC-14
#[test]
fn a_count_without_its_elements_is_an_error() {
    assert_eq!(
        read::<Seq0_64K<'_, U256>>(&[0xff, 0xff, 1, 2]),
        Err(FieldError::Short { needed: 65_535 * 32, left: 2 })
    );
    assert_eq!(
        read::<Seq0_64K<'_, Transaction>>(&[2, 0, 1, 0, 0, 9, 0xff, 0xff, 0xff, 1]),
        Err(FieldError::Short { needed: 0xff_ffff, left: 1 })
    );
    assert_eq!(
        read::<B0_16M<'_>>(&[0xff, 0xff, 0xff]),
        Err(FieldError::Short { needed: 0xff_ffff, left: 0 })
    );
}

// proves: ENC-14
#[test]
fn decoding_borrows() {
    let bytes = [3, 1, 2, 3];
    let field = read::<B0_255<'_>>(&bytes).unwrap();
    assert_eq!(field.as_slice().as_ptr(), bytes[1..].as_ptr());
    let field = field.into_owned();
    assert_ne!(field.as_slice().as_ptr(), bytes[1..].as_ptr());
}

// proves: ER-05 ER-06 ER-07 ER-08
#[test]
fn an_error_code_is_short_printable_ascii() {
    assert_eq!(ErrorCode::new("stale-share").unwrap().as_bytes(), b"stale-share");
    assert_eq!(ErrorCode::new("~ !").unwrap(), ErrorCode::from_static("~ !"));
    assert!(ErrorCode::new("x".repeat(255)).is_ok());
    assert_eq!(ErrorCode::new("x".repeat(256)), Err(ErrorCodeError::TooLong(256)));
    for (code, position, byte) in [("a\nb", 1, b'\n'), ("\0", 0, 0), ("ab\x7f", 2, 0x7f), ("µ", 0, 0xc2)] {
        assert_eq!(ErrorCode::new(code), Err(ErrorCodeError::NotPrintable { position, byte }));
    }
}

// proves: ER-06 ER-09
#[test]
fn a_code_that_was_received_is_kept_escaped_and_mended_before_it_is_sent_on() {
    let code: ErrorCode<'_> = read(b"\x05a\nb\xff~").unwrap();
    assert_eq!(code.as_bytes(), b"a\nb\xff~");
    assert_eq!(code.to_string(), r"a\nb\xff~");
    assert_eq!(code.printable().as_bytes(), b"a?b?~");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn truncated_text_is_the_longest_start_that_fits(text in proptest::collection::vec(any::<char>(), 0..120)) {
        let text: String = text.into_iter().collect();
        let cut = Str0_255::truncated(&text).to_str().unwrap().to_owned();
        prop_assert!(text.starts_with(&cut));
        let next = text[cut.len()..].chars().next().map_or(0, char::len_utf8);
        prop_assert!(cut == text || cut.len() + next > 255);
    }
}
