//! The jobs of one channel by what may be done with them. Server and client keep the same model
//! (rules SM-12 to SM-22), so both sides of the crate use this one.

/// What may be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Sent ahead: a `SetNewPrevHash` may name it.
    Future,
    /// Superseded, on the current tip: shares on it still count (MP-125).
    Past,
    /// To be mined.
    Active,
}

/// A job as a channel holds it.
pub(crate) trait Entry {
    fn id(&self) -> u32;
    fn state(&self) -> State;
    fn set_state(&mut self, state: State);
}

/// How many jobs are kept; what is beyond becomes stale, the oldest first (MP-107).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub future: u8,
    pub past: u8,
}

/// What a job id stands for (SM-22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    /// Active or past: a share on it is validated.
    Valid(T),
    Future,
    Stale,
    Unknown,
}

/// The id belongs to a job that is still valid (MP-84, MP-85).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdInUse;

/// Jobs in the order of their arrival.
#[derive(Debug)]
pub(crate) struct JobStore<E> {
    /// At most one is active. Few, so a scan from the newest beats any map.
    jobs: Vec<E>,
    /// Ids that were valid once, the newest last: so that a late share is told apart from nonsense.
    stale: Vec<u32>,
}

impl<E: Entry> JobStore<E> {
    /// Nothing yet (SM-12).
    pub const fn new() -> Self {
        Self { jobs: Vec::new(), stale: Vec::new() }
    }

    /// All valid jobs, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &E> {
        self.jobs.iter()
    }

    /// The job to be mined.
    pub fn active(&self) -> Option<&E> {
        self.jobs.iter().rev().find(|job| job.state() == State::Active)
    }

    /// The same, to be changed.
    pub fn active_mut(&mut self) -> Option<&mut E> {
        self.jobs.iter_mut().rev().find(|job| job.state() == State::Active)
    }

    /// What the id stands for.
    pub fn find(&self, id: u32) -> Lookup<&E> {
        match self.jobs.iter().rev().find(|job| job.id() == id) {
            Some(job) if job.state() == State::Future => Lookup::Future,
            Some(job) => Lookup::Valid(job),
            None if self.stale.contains(&id) => Lookup::Stale,
            None => Lookup::Unknown,
        }
    }

    /// A valid job, future ones included.
    pub fn get(&self, id: u32) -> Option<&E> {
        self.jobs.iter().rev().find(|job| job.id() == id)
    }

    /// SM-13.
    pub fn add_future(&mut self, job: E, limits: Limits) -> Result<(), IdInUse> {
        self.add(job, State::Future, limits)
    }

    /// SM-14. What was active is superseded.
    pub fn add_active(&mut self, job: E, limits: Limits) -> Result<(), IdInUse> {
        if self.get(job.id()).is_some() {
            return Err(IdInUse);
        }
        if let Some(active) = self.jobs.iter_mut().find(|job| job.state() == State::Active) {
            active.set_state(State::Past);
        }
        self.add(job, State::Active, limits)
    }

    /// SM-20 on another tip: what was active or past becomes stale.
    pub fn add_active_on_new_tip(&mut self, job: E, limits: Limits) -> Result<(), IdInUse> {
        if self.get(job.id()).is_some() {
            return Err(IdInUse);
        }
        self.stop(limits);
        self.add(job, State::Active, limits)
    }

    /// SM-15: the future job becomes active, all others become stale (MP-99). `None`: there is no such
    /// future job (SM-16), and nothing happened.
    pub fn activate(&mut self, id: u32, limits: Limits) -> Option<&mut E> {
        self.jobs.iter().find(|job| job.id() == id && job.state() == State::Future)?;
        self.kill(limits, |job| job.id() != id);
        let job = self.jobs.first_mut()?;
        job.set_state(State::Active);
        Some(job)
    }

    /// Nothing is mined until a future job is activated (SM-16).
    pub fn stop(&mut self, limits: Limits) {
        self.kill(limits, |job| job.state() != State::Future);
    }

    fn add(&mut self, mut job: E, state: State, limits: Limits) -> Result<(), IdInUse> {
        if self.get(job.id()).is_some() {
            return Err(IdInUse);
        }
        // An id may come back after it became stale (MP-88).
        self.stale.retain(|&stale| stale != job.id());
        job.set_state(state);
        // Exact: the list reaches its full length once and then stays there, and there are many lists.
        self.jobs.reserve_exact(1);
        self.jobs.push(job);
        self.evict(State::Future, usize::from(limits.future.max(1)), limits);
        self.evict(State::Past, usize::from(limits.past), limits);
        debug_assert!(self.jobs.iter().filter(|job| job.state() == State::Active).count() <= 1);
        Ok(())
    }

    fn evict(&mut self, state: State, limit: usize, limits: Limits) {
        if self.jobs.iter().filter(|job| job.state() == state).count() > limit {
            let oldest = self.jobs.iter().find(|job| job.state() == state).map(Entry::id);
            self.kill(limits, |job| Some(job.id()) == oldest);
        }
    }

    fn kill(&mut self, limits: Limits, dies: impl Fn(&E) -> bool) {
        let Self { jobs, stale } = self;
        jobs.retain(|job| {
            let dies = dies(job);
            if dies {
                stale.push(job.id());
            }
            !dies
        });
        // Room for all that one tip can leave behind, which is what late shares are about.
        let room = usize::from(limits.past) + usize::from(limits.future.min(4)) + 4;
        let excess = stale.len().saturating_sub(room);
        stale.drain(..excess);
        if stale.capacity() > room {
            stale.shrink_to(room);
        }
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.jobs.capacity() * size_of::<E>() + self.stale.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Job(u32, State);

    impl Entry for Job {
        fn id(&self) -> u32 {
            self.0
        }

        fn state(&self) -> State {
            self.1
        }

        fn set_state(&mut self, state: State) {
            self.1 = state;
        }
    }

    const LIMITS: Limits = Limits { future: 2, past: 2 };

    fn job(id: u32) -> Job {
        Job(id, State::Future)
    }

    fn valid(id: u32, state: State) -> Lookup<Job> {
        Lookup::Valid(Job(id, state))
    }

    fn find(store: &JobStore<Job>, id: u32) -> Lookup<Job> {
        match store.find(id) {
            Lookup::Valid(job) => Lookup::Valid(*job),
            Lookup::Future => Lookup::Future,
            Lookup::Stale => Lookup::Stale,
            Lookup::Unknown => Lookup::Unknown,
        }
    }

    // proves: SM-12 SM-13 SM-14 SM-15 SM-16 SM-22 MP-99 MP-106 CW-04
    #[test]
    fn jobs_move_as_the_rules_say() {
        let mut store = JobStore::new();
        assert_eq!(store.active(), None);
        store.add_future(job(1), LIMITS).unwrap();
        store.add_future(job(2), LIMITS).unwrap();
        assert_eq!(
            (find(&store, 1), find(&store, 2), store.active()),
            (Lookup::Future, Lookup::Future, None)
        );
        assert!(store.activate(9, LIMITS).is_none());
        assert!(store.activate(1, LIMITS).is_some());
        assert_eq!((find(&store, 1), find(&store, 2)), (valid(1, State::Active), Lookup::Stale));
        store.add_active(job(3), LIMITS).unwrap();
        assert_eq!((find(&store, 1), find(&store, 3)), (valid(1, State::Past), valid(3, State::Active)));
        // An active job was not sent as a future one.
        assert!(store.activate(3, LIMITS).is_none());
        store.add_future(job(4), LIMITS).unwrap();
        assert!(store.activate(4, LIMITS).is_some());
        assert_eq!([1, 2, 3].map(|id| find(&store, id)), [Lookup::Stale; 3]);
        assert_eq!(find(&store, 5), Lookup::Unknown);
    }

    // proves: MP-84 MP-85 MP-88
    #[test]
    fn an_id_is_free_again_only_when_its_job_is_dead() {
        let mut store = JobStore::new();
        store.add_future(job(1), LIMITS).unwrap();
        assert_eq!(store.add_future(job(1), LIMITS), Err(IdInUse));
        store.activate(1, LIMITS).unwrap();
        assert_eq!(store.add_active(job(1), LIMITS), Err(IdInUse));
        assert_eq!(store.add_active_on_new_tip(job(1), LIMITS), Err(IdInUse));
        assert_eq!(find(&store, 1), valid(1, State::Active));
        store.stop(LIMITS);
        assert_eq!(find(&store, 1), Lookup::Stale);
        store.add_future(job(1), LIMITS).unwrap();
        assert_eq!(find(&store, 1), Lookup::Future);
    }

    // proves: MP-107
    #[test]
    fn memory_is_bounded_and_what_falls_out_is_stale() {
        let mut store = JobStore::new();
        for id in 0..1000 {
            store.add_future(job(2 * id), LIMITS).unwrap();
            store.add_active(job(2 * id + 1), LIMITS).unwrap();
            assert!(store.iter().count() <= 5 && store.stale.len() <= 8);
        }
        assert_eq!(find(&store, 1995), valid(1995, State::Past));
        assert_eq!(find(&store, 1993), Lookup::Stale);
        assert_eq!(find(&store, 1994), Lookup::Stale);
        assert_eq!(find(&store, 1996), Lookup::Future);
        assert!(store.heap_bytes() < 200);
    }
}
