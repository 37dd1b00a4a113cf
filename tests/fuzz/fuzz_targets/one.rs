//! The program that fuzzes: the target that `CONCLAVE_FUZZ` names, with an eye on memory.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;

/// What a target may hold at one time beyond what it held before: a length that was only claimed would be more.
const MOST_BYTES: usize = 48 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("CONCLAVE_FUZZ").unwrap_or_default();
    let all = conclave_cluster::fuzzing::TARGETS.iter().chain(&conclave::fuzzing::TARGETS);
    let names: Vec<&str> = all.clone().map(|(name, _)| *name).collect();
    match all.into_iter().find(|(other, _)| *other == name) {
        Some((_, target)) => *target,
        None => panic!("CONCLAVE_FUZZ is one of {}", names.join(" ")),
    }
});

fuzz_target!(|data: &[u8]| {
    let target = *TARGET;
    let held = HELD.load(Relaxed);
    MOST.store(held, Relaxed);
    target(data);
    let more = MOST.load(Relaxed).saturating_sub(held);
    assert!(more <= MOST_BYTES, "{more} bytes of memory for {} bytes of input", data.len());
});

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

fn count(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(held, Relaxed);
}
