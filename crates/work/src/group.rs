//! Group channels of one connection: who is in which, and that a job for the group fits all of them.

use thiserror::Error;

/// Gives out the ids of channels and groups of one connection, which share one namespace and are not
/// used again (MP-13, MP-14, MP-15, AM-45).
#[derive(Debug, Default)]
pub struct ChannelIds {
    last: u32,
}

impl ChannelIds {
    /// The next id, from 1 on; `None` after the last (LIM-18).
    #[expect(clippy::should_implement_trait, reason = "an iterator invites collecting 2^32 ids")]
    pub fn next(&mut self) -> Option<u32> {
        self.last = self.last.checked_add(1)?;
        Some(self.last)
    }
}

/// Why a channel cannot be in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GroupError {
    /// There is none with this id.
    #[error("there is no group {0} on this connection")]
    Unknown(u32),
    /// MP-151: an id once used does not turn into something else.
    #[error("id {0} is taken by a channel or group of this connection")]
    IdInUse(u32),
    /// MP-151.
    #[error("{0} is a group, which cannot be in another")]
    NotAChannel(u32),
    /// MP-21, MP-153.
    #[error("a full extranonce of {got} bytes does not fit into a group where it has {have}")]
    ExtranonceLength {
        /// In the group.
        have: usize,
        /// Of the channel.
        got: usize,
    },
}

#[derive(Debug)]
struct Group {
    id: u32,
    full_extranonce_len: usize,
    channels: Vec<u32>,
}

/// The groups of one connection. A channel is in exactly one of them at a time (MP-23).
#[derive(Debug, Default)]
pub struct Groups {
    /// Nearly always one, as all channels of the pool have one extranonce length.
    groups: Vec<Group>,
}

impl Groups {
    /// Opens an empty group for channels whose full extranonce has so many bytes.
    pub fn open(&mut self, id: u32, full_extranonce_len: usize) -> Result<(), GroupError> {
        if self.find(id).is_some() || self.group_of(id).is_some() {
            return Err(GroupError::IdInUse(id));
        }
        self.groups.push(Group { id, full_extranonce_len, channels: Vec::new() });
        Ok(())
    }

    /// A group that a channel with such an extranonce can join (MP-22).
    pub fn with_extranonce_len(&self, full_extranonce_len: usize) -> Option<u32> {
        self.groups
            .iter()
            .find(|group| group.full_extranonce_len == full_extranonce_len)
            .map(|group| group.id)
    }

    /// Puts a channel into a group, and takes it out of the one it was in (MP-152).
    pub fn join(&mut self, group: u32, channel: u32, full_extranonce_len: usize) -> Result<(), GroupError> {
        if self.find(channel).is_some() {
            return Err(GroupError::NotAChannel(channel));
        }
        let have = self.find(group).ok_or(GroupError::Unknown(group))?.full_extranonce_len;
        if have != full_extranonce_len {
            return Err(GroupError::ExtranonceLength { have, got: full_extranonce_len });
        }
        if self.group_of(channel) == Some(group) {
            return Ok(());
        }
        self.leave(channel);
        if let Some(group) = self.groups.iter_mut().find(|known| known.id == group) {
            group.channels.push(channel);
        }
        debug_assert_eq!(self.group_of(channel), Some(group));
        Ok(())
    }

    /// Takes a closed channel out of its group. Broadcasts to a group end with its last channel, but the
    /// group stays, so that a later channel may join it (MP-61, MP-160).
    pub fn leave(&mut self, channel: u32) {
        for group in &mut self.groups {
            group.channels.retain(|&member| member != channel);
        }
    }

    /// Closes a group; gives the channels that close with it (MP-65).
    pub fn close(&mut self, group: u32) -> Result<Vec<u32>, GroupError> {
        let index =
            self.groups.iter().position(|known| known.id == group).ok_or(GroupError::Unknown(group))?;
        Ok(self.groups.swap_remove(index).channels)
    }

    /// The channels of a group; none if it is unknown or empty.
    pub fn channels(&self, group: u32) -> &[u32] {
        self.find(group).map_or(&[], |group| &group.channels)
    }

    /// The groups that have channels: those to broadcast to.
    pub fn populated(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.groups
            .iter()
            .filter(|group| !group.channels.is_empty())
            .map(|group| (group.id, &*group.channels))
    }

    /// The group that a channel is in.
    pub fn group_of(&self, channel: u32) -> Option<u32> {
        self.groups.iter().find(|group| group.channels.contains(&channel)).map(|group| group.id)
    }

    fn find(&self, id: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: MP-13 MP-14 MP-15 AM-45 LIM-18
    #[test]
    fn ids_are_never_given_twice() {
        let mut ids = ChannelIds::default();
        assert_eq!((ids.next(), ids.next()), (Some(1), Some(2)));
        ids.last = u32::MAX - 1;
        assert_eq!((ids.next(), ids.next(), ids.next()), (Some(u32::MAX), None, None));
    }

    // proves: MP-21 MP-22 MP-153 CW-32
    #[test]
    fn a_group_has_one_extranonce_length() {
        let mut groups = Groups::default();
        groups.open(1, 24).unwrap();
        groups.open(2, 20).unwrap();
        groups.join(1, 10, 24).unwrap();
        assert_eq!(groups.join(1, 11, 20), Err(GroupError::ExtranonceLength { have: 24, got: 20 }));
        assert_eq!(groups.channels(1), [10]);
        assert_eq!(groups.with_extranonce_len(20), Some(2));
        assert_eq!(groups.with_extranonce_len(32), None);
    }

    // proves: MP-23 MP-152 MP-151
    #[test]
    fn a_channel_is_in_one_group_and_never_is_one() {
        let mut groups = Groups::default();
        groups.open(1, 24).unwrap();
        groups.open(2, 24).unwrap();
        groups.join(1, 10, 24).unwrap();
        groups.join(1, 11, 24).unwrap();
        groups.join(2, 10, 24).unwrap();
        groups.join(2, 10, 24).unwrap();
        assert_eq!((groups.channels(1), groups.channels(2)), (&[11][..], &[10][..]));
        assert_eq!(groups.join(1, 2, 24), Err(GroupError::NotAChannel(2)));
        assert_eq!(groups.open(10, 24), Err(GroupError::IdInUse(10)));
        assert_eq!(groups.open(1, 24), Err(GroupError::IdInUse(1)));
        assert_eq!(groups.join(3, 10, 24), Err(GroupError::Unknown(3)));
    }

    // proves: MP-160
    #[test]
    fn an_empty_group_gets_no_broadcasts() {
        let mut groups = Groups::default();
        groups.open(1, 24).unwrap();
        groups.join(1, 10, 24).unwrap();
        assert_eq!(groups.populated().count(), 1);
        groups.leave(10);
        assert_eq!(groups.populated().count(), 0);
        assert_eq!(groups.group_of(10), None);
    }

    #[test]
    fn closing_a_group_gives_its_channels() {
        let mut groups = Groups::default();
        groups.open(1, 24).unwrap();
        groups.join(1, 10, 24).unwrap();
        groups.join(1, 11, 24).unwrap();
        assert_eq!(groups.close(1), Ok(vec![10, 11]));
        assert_eq!(groups.close(1), Err(GroupError::Unknown(1)));
    }
}
