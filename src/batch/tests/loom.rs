//! The ledger and its tickets under every order in which threads can meet: `./dev sanitize`.
//!
//! loom runs a model once for each order of the locks and atomics of [`super::sync`], so a model has two or three
//! threads and few steps. What holds without threads is tested elsewhere.

use super::alarm::Alarm;
use super::answers::{Poll, Push};
use super::former::Former;
use super::ledger::{Account, DropReason, FailReason, Ledger, Waker};
use super::sync::{Arc, Mutex, Ordering};
use super::{FeedId, FeedOptions, FrameId, Policy, Ticket};
use crate::time::Monotonic;
use loom::sync::atomic::AtomicBool;
use loom::thread;

const FEED: FeedId = FeedId(1);

/// A flag, and a waker that raises it.
fn waker() -> (Arc<AtomicBool>, Waker) {
    let woken = Arc::new(AtomicBool::new(false));
    let raise = Arc::clone(&woken);
    (
        woken,
        Waker::from(Box::new(move || raise.store(true, Ordering::Release)) as Box<dyn Fn() + Send + Sync>),
    )
}

/// An account with `frames` in flight, their tickets, and whether its waker was called.
fn in_flight(limit: usize, frames: usize) -> (Arc<Account>, Vec<Ticket>, Arc<AtomicBool>) {
    let (woken, waker) = waker();
    let account = Arc::new(Account::new(limit, Arc::new(Alarm::new(waker))));
    (0..frames).for_each(|_| account.receive());
    let tickets = (0..frames).map(|_| Ticket::new(&account, account.epoch())).collect();
    (account, tickets, woken)
}

fn balanced(account: &Account) -> (Ledger, usize) {
    let (ledger, holding) = account.read();
    assert!(ledger.is_balanced(), "{ledger:?}");
    assert!(ledger.in_flight <= holding as u64, "{ledger:?} but {holding} tickets");
    (ledger, holding)
}

/// Nothing is in flight and every credit is back; returns the ledger.
#[track_caller]
fn settled(account: &Account) -> Ledger {
    let (ledger, holding) = balanced(account);
    assert_eq!((ledger.in_flight, holding), (0, 0));
    ledger
}

#[test]
fn of_two_ends_on_two_threads_one_counts() {
    loom::model(|| {
        let (account, mut tickets, _) = in_flight(1, 1);
        let ticket = tickets.remove(0);
        let other = ticket.clone();
        let thread = thread::spawn(move || other.fail(FailReason::Timeout));
        ticket.deliver();
        drop(ticket);
        balanced(&account);
        thread.join().unwrap();
        let ledger = settled(&account);
        assert_eq!(ledger.delivered + ledger.failed(FailReason::Timeout), 1);
        assert_eq!(ledger.dropped_total(), 0);
    });
}

#[test]
fn credit_comes_back_with_the_last_clone_and_once() {
    loom::model(|| {
        let (account, mut tickets, woken) = in_flight(1, 1);
        account.receive();
        let ticket = tickets.remove(0);
        let other = ticket.clone();
        let thread = thread::spawn(move || drop(other));
        drop(ticket);
        let (ledger, holding) = balanced(&account);
        assert!(holding == 1 || ledger.dropped(DropReason::Abandoned) == 1);
        thread.join().unwrap();
        account.drop_queued(DropReason::Flushed);
        assert_eq!(settled(&account).dropped(DropReason::Abandoned), 1);
        assert!(woken.load(Ordering::Acquire), "a frame was waiting for the credit");
    });
}

#[test]
fn an_end_said_by_one_clone_is_seen_by_the_drop_of_another() {
    loom::model(|| {
        let (account, mut tickets, _) = in_flight(1, 1);
        let ticket = tickets.remove(0);
        let other = ticket.clone();
        let thread = thread::spawn(move || {
            other.deliver();
            drop(other);
        });
        drop(ticket);
        thread.join().unwrap();
        assert_eq!(settled(&account).delivered, 1);
    });
}

#[test]
fn a_push_that_finds_no_credit_is_woken() {
    loom::model(|| {
        let (account, tickets, woken) = in_flight(1, 1);
        let thread = thread::spawn(move || drop(tickets));
        account.receive();
        let had_credit = account.credit() > 0;
        thread.join().unwrap();
        assert!(had_credit || woken.load(Ordering::Acquire), "the frame would wait for ever");
    });
}

#[test]
fn two_credits_that_come_back_at_once_wake_for_the_frame_that_waits() {
    loom::model(|| {
        let (account, mut tickets, woken) = in_flight(2, 2);
        account.receive();
        let other = tickets.pop();
        let thread = thread::spawn(move || drop(other));
        drop(tickets);
        thread.join().unwrap();
        assert!(woken.load(Ordering::Acquire));
        assert_eq!(account.credit(), 2);
    });
}

#[test]
fn a_limit_that_falls_while_tickets_go_is_never_exceeded_by_credit() {
    loom::model(|| {
        let (account, tickets, _) = in_flight(2, 2);
        let thread = thread::spawn(move || drop(tickets));
        account.set_limit(1);
        assert!(account.credit() <= 1);
        thread.join().unwrap();
        assert_eq!(account.credit(), 1);
        assert_eq!(settled(&account).dropped(DropReason::Abandoned), 2);
    });
}

#[test]
fn a_limit_that_rises_while_a_ticket_goes_leaves_credit_or_wakes() {
    loom::model(|| {
        let (account, tickets, woken) = in_flight(1, 1);
        account.receive();
        let thread = thread::spawn(move || drop(tickets));
        account.set_limit(2);
        let had_credit = account.credit() > 0;
        thread.join().unwrap();
        assert!(had_credit || woken.load(Ordering::Acquire));
    });
}

#[test]
fn a_flush_makes_a_ticket_stale_for_good_and_loses_no_frame() {
    loom::model(|| {
        let (account, mut tickets, _) = in_flight(2, 1);
        account.receive();
        let ticket = tickets.remove(0);
        let flushing = Arc::clone(&account);
        let thread = thread::spawn(move || {
            flushing.begin_epoch();
            flushing.drop_queued(DropReason::Flushed);
        });
        let was_current = ticket.epoch_is_current();
        if was_current {
            ticket.deliver()
        } else {
            ticket.discard(DropReason::Stale)
        }
        balanced(&account);
        thread.join().unwrap();
        assert!(!ticket.epoch_is_current());
        drop(ticket);
        let ledger = settled(&account);
        assert_eq!(ledger.delivered, u64::from(was_current));
        assert_eq!(ledger.dropped(DropReason::Flushed), 1);
    });
}

#[test]
fn a_feed_is_removed_while_its_frame_ends_and_nothing_is_lost() {
    loom::model(|| {
        let (account, mut tickets, _) = in_flight(2, 1);
        account.receive();
        let ticket = tickets.remove(0);
        let thread = thread::spawn(move || ticket.deliver());
        account.drop_queued(DropReason::Removed);
        balanced(&account);
        thread.join().unwrap();
        let ledger = settled(&account);
        assert_eq!((ledger.delivered, ledger.dropped(DropReason::Removed)), (1, 1));
    });
}

/// Of the credits that come back while a poll looks at the feeds, none is overlooked: it is seen, or it wakes.
#[test]
fn a_batch_that_credit_completes_during_a_poll_is_not_missed() {
    loom::model(|| {
        let (woken, waker) = waker();
        let policy = Policy { max_batch_size: 2, ..Policy::default() };
        let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
        let (other, now) = (FeedId(2), Monotonic::ZERO);
        let mut former = Former::new(policy, waker).unwrap();
        for (at, feed) in [FEED, other].into_iter().enumerate() {
            former.add_feed(feed, options.clone()).unwrap();
            assert_eq!(former.push(feed, FrameId(at as u64), now).unwrap(), Push::Queued);
        }
        let Poll::Close(batch) = former.poll(now, true) else { panic!("a full batch") };
        for (at, feed) in [FEED, other].into_iter().enumerate() {
            assert_eq!(former.push(feed, FrameId(2 + at as u64), now).unwrap(), Push::Queued);
        }
        assert!(matches!(former.poll(now, true), Poll::Idle));
        woken.store(false, Ordering::Release);
        let thread = thread::spawn(move || drop(batch));
        let poll = former.poll(now, true);
        thread.join().unwrap();
        assert!(matches!(poll, Poll::Close(_)) || woken.load(Ordering::Acquire), "{poll:?}");
    });
}

/// A former behind its mutex, as the element has it.
#[test]
fn a_former_is_flushed_and_polled_while_a_ticket_ends() {
    loom::model(|| {
        let (woken, waker) = waker();
        let policy = Policy { max_batch_size: 1, ..Policy::default() };
        let options = FeedOptions { max_in_flight: 1, ..FeedOptions::default() };
        let mut former = Former::new(policy, waker).unwrap();
        former.add_feed(FEED, options).unwrap();
        let now = Monotonic::ZERO;
        assert_eq!(former.push(FEED, FrameId(0), now).unwrap(), Push::Queued);
        assert_eq!(former.push(FEED, FrameId(1), now).unwrap(), Push::Queued);
        let Poll::Close(batch) = former.poll(now, true) else { panic!("a full batch") };
        let former = Arc::new(Mutex::new(former));
        let thread = thread::spawn(move || {
            batch.frames.iter().for_each(|chosen| chosen.ticket.deliver());
            drop(batch);
        });
        let poll = former.lock().poll(now, true);
        thread.join().unwrap();
        match poll {
            // The credit was back in time.
            Poll::Close(batch) => drop(batch),
            // It was not: the waker says when.
            _ => assert!(woken.load(Ordering::Acquire)),
        }
        drop(former.lock().flush(FEED));
        let total = former.lock().snapshot().total();
        assert!(total.is_balanced() && total.outstanding() == 0, "{total:?}");
        assert_eq!((total.received, total.delivered), (2, 1));
    });
}
