//! All clients of a run.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::{LONGEST, failures::Failures, life::life, plan::Plan, receipts::Receipts};

/// A handshake as its client sees it: from before the connect until it has the greeting. Times are of the clock of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshake {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) plan: Plan,
    pub(crate) addr: SocketAddr,
    pub(crate) handshakes_at_once: Semaphore,
    pub(crate) receipts: Receipts,
    pub(crate) failures: Failures,
    handshakes: Mutex<Vec<Handshake>>,
    /// Clients that have not been greeted and have not failed either.
    coming: watch::Sender<usize>,
    /// Texts of clients.
    pub(crate) said: AtomicU64,
}

/// A client that is not connected yet.
pub(crate) struct Coming(Arc<Hall>);

impl Hall {
    /// A client was greeted.
    pub(crate) fn opened(&self, handshake: Handshake) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).push(handshake);
    }

    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All clients of a run, each a task.
pub(crate) struct Clients {
    hall: Arc<Hall>,
    lives: JoinSet<()>,
    begun: usize,
    /// For those that stay.
    stay: Vec<oneshot::Sender<()>>,
    /// For the others, the oldest first.
    turns: VecDeque<oneshot::Sender<()>>,
}

impl Clients {
    pub(crate) fn new(plan: &Plan, addr: SocketAddr) -> Self {
        let hall = Hall {
            plan: *plan,
            addr,
            handshakes_at_once: Semaphore::new(plan.at_once),
            receipts: Receipts::default(),
            failures: Failures::default(),
            handshakes: Mutex::default(),
            coming: watch::Sender::new(0),
            said: AtomicU64::new(0),
        };
        Self {
            hall: Arc::new(hall),
            lives: JoinSet::new(),
            begun: 0,
            stay: Vec::new(),
            turns: VecDeque::new(),
        }
    }

    /// Connects as many as there are to be.
    pub(crate) async fn fill(&mut self) {
        for _ in 0..self.hall.plan.connections {
            self.begin();
        }
        self.settle().await;
    }

    /// Lets the oldest leave and others come, at the pace of the plan.
    pub(crate) async fn churn(&mut self, seconds: f64) {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        // Ticks that came too late are made up for.
        let mut pace = interval(Duration::from_secs(1) / u32::try_from(self.hall.plan.churn).unwrap());
        while Instant::now() < end {
            pace.tick().await;
            if let Some(oldest) = self.turns.pop_front() {
                // One that has failed is counted as such.
                let _ = oldest.send(());
            }
            self.begin();
            while let Some(ended) = self.lives.try_join_next() {
                ended.unwrap();
            }
            let failures = self.hall.failures.count();
            assert!(failures < 100, "{failures} clients have failed");
        }
    }

    /// Waits until all that have begun to connect are connected.
    pub(crate) async fn settle(&self) {
        let mut coming = self.hall.coming.subscribe();
        let settled = timeout(LONGEST, coming.wait_for(|coming| *coming == 0)).await.is_ok();
        assert!(settled, "{} clients are not connected", *self.hall.coming.borrow());
        self.hall.failures.check();
    }

    /// Waits until all have ended, behind the last broadcast.
    pub(crate) async fn gone(mut self) -> Arc<Hall> {
        while let Some(ended) = self.lives.join_next().await {
            ended.unwrap();
        }
        self.hall
    }

    fn begin(&mut self) {
        let (number, hall) = (self.begun, Arc::clone(&self.hall));
        self.begun += 1;
        let (leave, left) = oneshot::channel();
        match hall.plan.stays(number) {
            true => self.stay.push(leave),
            false => self.turns.push_back(leave),
        }
        let coming = Coming::new(&hall);
        self.lives.spawn(async move {
            if let Err(error) = life(&hall, coming, number, left).await {
                hall.failures.add(format!("client {number}: {error}"));
            }
        });
    }
}

impl Coming {
    fn new(hall: &Arc<Hall>) -> Self {
        hall.coming.send_modify(|coming| *coming += 1);
        Self(Arc::clone(hall))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.send_modify(|coming| *coming -= 1);
    }
}
