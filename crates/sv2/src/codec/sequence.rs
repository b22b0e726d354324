use {
    super::{Field, FieldError, Reader, TooLong, U256, bytes::write_length},
    std::{borrow::Cow, fmt, marker::PhantomData},
};

/// Elements behind a count of `PREFIX` bytes (ENC-11).
///
/// A view over the encoded elements: decoding checks that all of them are there and touches nothing
/// else, iterating decodes one after the other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Seq<'a, T, const PREFIX: usize> {
    count: u16,
    encoded: Cow<'a, [u8]>,
    element: PhantomData<T>,
}

/// Up to 255 elements.
pub type Seq0_255<'a, T> = Seq<'a, T, 1>;
/// Up to 65,535 elements.
pub type Seq0_64K<'a, T> = Seq<'a, T, 2>;

/// What a sequence can consist of.
pub trait Element {
    /// An element as it is read from a sequence and given to make one.
    type Item<'b>;

    /// Steps over `count` elements. Fails when not all of them are there.
    fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), FieldError>;

    /// Takes one element.
    fn read<'b>(reader: &mut Reader<'b>) -> Result<Self::Item<'b>, FieldError>;

    /// Appends one element; `Err` if the element is longer than its type allows.
    fn write(item: Self::Item<'_>, out: &mut Vec<u8>) -> Result<(), TooLong>;
}

/// An element whose encoding always has the same length.
pub trait FixedElement: Element {
    /// Length of each encoded element in bytes.
    const LEN: usize;
}

macro_rules! fixed_elements {
    ($($element:ty: $len:literal),*) => {$(
        impl Element for $element {
            type Item<'b> = Self;

            fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), FieldError> {
                reader.take(count * Self::LEN).map(drop)
            }

            fn read<'b>(reader: &mut Reader<'b>) -> Result<Self, FieldError> {
                <Self as Field>::read(reader)
            }

            fn write(item: Self, out: &mut Vec<u8>) -> Result<(), TooLong> {
                Field::write(&item, out);
                Ok(())
            }
        }

        impl FixedElement for $element {
            const LEN: usize = $len;
        }
    )*};
}

fixed_elements!(u16: 2, u32: 4, U256: 32);

/// Marks a sequence of raw transactions, B0_16M each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transaction {}

impl Element for Transaction {
    type Item<'b> = &'b [u8];

    fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), FieldError> {
        (0..count).try_for_each(|_| Self::read(reader).map(drop))
    }

    fn read<'b>(reader: &mut Reader<'b>) -> Result<&'b [u8], FieldError> {
        let len = reader.length::<3>()?;
        reader.take(len)
    }

    fn write(item: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        super::B0_16M::new(item).map(|bytes| bytes.write(out))
    }
}

impl<'a, T: Element, const PREFIX: usize> Seq<'a, T, PREFIX> {
    /// Greatest number of elements.
    pub const MAX_COUNT: usize = (1 << (8 * PREFIX)) - 1;

    /// No elements.
    pub const EMPTY: Self = Self { count: 0, encoded: Cow::Borrowed(&[]), element: PhantomData };

    /// Encodes `items`.
    pub fn new<'b>(items: impl IntoIterator<Item = T::Item<'b>>) -> Result<Seq<'static, T, PREFIX>, TooLong> {
        let mut encoded = Vec::new();
        let mut count = 0;
        for item in items {
            count += 1;
            if count > Self::MAX_COUNT {
                return Err(TooLong { len: count, max: Self::MAX_COUNT });
            }
            T::write(item, &mut encoded)?;
        }
        let count = u16::try_from(count).expect("checked against MAX_COUNT");
        Ok(Seq { count, encoded: Cow::Owned(encoded), element: PhantomData })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { reader: Reader::new(&self.encoded), left: self.len(), element: PhantomData }
    }

    /// Detaches the sequence from the buffer it was read from.
    pub fn into_owned(self) -> Seq<'static, T, PREFIX> {
        Seq { count: self.count, encoded: Cow::Owned(self.encoded.into_owned()), element: PhantomData }
    }
}

impl<T: FixedElement, const PREFIX: usize> Seq<'_, T, PREFIX> {
    /// The element at `index`, without decoding those before it.
    pub fn get(&self, index: usize) -> Option<T::Item<'_>> {
        let from = index.checked_mul(T::LEN)?;
        T::read(&mut Reader::new(self.encoded.get(from..)?)).ok()
    }
}

impl<'a, const PREFIX: usize> Seq<'a, U256, PREFIX> {
    /// Borrows hashes that lie side by side, such as a merkle path.
    pub fn from_slice(hashes: &'a [U256]) -> Result<Self, TooLong> {
        match u16::try_from(hashes.len()) {
            Ok(count) if hashes.len() <= Self::MAX_COUNT => {
                Ok(Self { count, encoded: Cow::Borrowed(hashes.as_flattened()), element: PhantomData })
            }
            _ => Err(TooLong { len: hashes.len(), max: Self::MAX_COUNT }),
        }
    }
}

impl<T: Element, const PREFIX: usize> Default for Seq<'_, T, PREFIX> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'s, T: Element, const PREFIX: usize> IntoIterator for &'s Seq<'_, T, PREFIX> {
    type Item = T::Item<'s>;
    type IntoIter = Iter<'s, T>;

    fn into_iter(self) -> Iter<'s, T> {
        self.iter()
    }
}

impl<T, const PREFIX: usize> fmt::Debug for Seq<'_, T, PREFIX>
where
    T: Element,
    for<'b> T::Item<'b>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Element + 'static, const PREFIX: usize> Field<'a> for Seq<'a, T, PREFIX> {
    type Owned = Seq<'static, T, PREFIX>;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        const { assert!(PREFIX <= 2, "counts of more than 16 bits are not in the specification") };
        let count = reader.length::<PREFIX>()?;
        let from = reader.rest();
        T::skip(reader, count)?;
        let encoded = &from[..from.len() - reader.rest().len()];
        let count = u16::try_from(count).expect("a prefix of at most two bytes");
        Ok(Self { count, encoded: Cow::Borrowed(encoded), element: PhantomData })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length::<PREFIX>(self.len(), out);
        out.extend_from_slice(&self.encoded);
    }

    fn into_owned(self) -> Self::Owned {
        self.into_owned()
    }
}

/// The elements of a [`Seq`], one after the other.
#[derive(Debug)]
pub struct Iter<'s, T> {
    reader: Reader<'s>,
    left: usize,
    element: PhantomData<T>,
}

impl<'s, T: Element> Iterator for Iter<'s, T> {
    type Item = T::Item<'s>;

    fn next(&mut self) -> Option<T::Item<'s>> {
        self.left = self.left.checked_sub(1)?;
        Some(T::read(&mut self.reader).expect("a sequence holds only elements that were checked"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Element> ExactSizeIterator for Iter<'_, T> {}
