//! Finds what is missing in the kernel's sequence numbers, and why.
//!
//! A hole shows when a later record of the same CPU arrives. Its causes stand in the kernel's counters, which
//! are read from time to time; so holes are collected, one gap for each CPU, until the next sample tells the
//! causes, or until too many records have passed without one.

use saker_abi::{KIND_MAX, LOSS_MAX, Loss, Stats};
use saker_api::event::GapEvent;

use crate::config::SequenceBase;
use crate::counters::Losses;

/// CPUs that are told apart; the kernel supports no more.
const CPUS: usize = 8192;
/// Records that may pass before a gap is told without its causes.
const PATIENCE: u64 = 65_536;

#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Number of the newest record, arrived or told missing; `None`: no base yet.
    last: Option<u64>,
    /// Missing since the last sample: number, first and last of them.
    missing: Option<(u64, u64, u64)>,
    /// Losses by cause that earlier gaps have been attributed to.
    attributed: [u64; LOSS_MAX as usize],
    sampled: bool,
}

#[derive(Debug)]
pub(crate) struct Sequences {
    cpus: Vec<Cpu>,
    base: SequenceBase,
    /// Records since the oldest hole that has not been told; 0: there is none.
    waiting: u64,
    /// Records that could not be decoded since the last sample.
    undecodable: u64,
}

impl Sequences {
    pub fn new(base: SequenceBase) -> Self {
        Self { cpus: Vec::new(), base, waiting: 0, undecodable: 0 }
    }

    fn cpu(&mut self, cpu: u32) -> Option<&mut Cpu> {
        let index = cpu as usize;
        if index >= self.cpus.len() {
            if index >= CPUS {
                return None;
            }
            let last = match self.base {
                SequenceBase::One => Some(0),
                SequenceBase::Unknown => None,
            };
            self.cpus.resize(index + 1, Cpu { last, ..Cpu::default() });
        }
        self.cpus.get_mut(index)
    }

    /// A record has arrived. Returns `true` when it shows that others did not.
    #[inline]
    pub fn arrived(&mut self, cpu: u32, seq: u64, losses: &mut Losses) -> bool {
        if self.waiting > 0 {
            self.waiting += 1;
        }
        let Some(state) = self.cpu(cpu) else { return false };
        let last = state.last.unwrap_or(seq.saturating_sub(1));
        if seq <= last {
            losses.late += 1;
            return false;
        }
        state.last = Some(seq);
        let missing = seq - last - 1;
        if missing == 0 {
            return false;
        }
        state.miss(last + 1, seq - 1);
        losses.records = losses.records.saturating_add(missing);
        self.waiting = self.waiting.max(1);
        true
    }

    pub fn undecodable(&mut self) {
        self.undecodable += 1;
    }

    /// Whether a gap waits for a sample.
    pub fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Whether it has waited too long.
    pub fn overdue(&self) -> bool {
        self.waiting > PATIENCE
    }

    /// Takes the kernel's counters of all CPUs. With `drained` all records up to these counters have arrived or
    /// are lost. Returns whether anything new is missing.
    pub fn sample(
        &mut self,
        stats: &[Stats],
        drained: bool,
        losses: &mut Losses,
        gaps: &mut Vec<GapEvent>,
    ) -> bool {
        let mut found = false;
        for (index, stats) in stats.iter().enumerate().take(CPUS) {
            let Some(state) = self.cpu(index as u32) else { break };
            let unattributed = state.sampled(stats);
            let Some(last) = state.last else {
                state.last = Some(stats.seq);
                continue;
            };
            // Numbers are given before records are written, so some may still be on their way: the end of a
            // sequence is missing for certain only when as many losses are counted.
            let missing = stats.seq.saturating_sub(last);
            let known = state.missing.map_or(0, |(lost, ..)| lost);
            if drained && missing > 0 && unattributed >= known.saturating_add(missing) {
                state.miss(last + 1, stats.seq);
                state.last = Some(stats.seq);
                losses.records = losses.records.saturating_add(missing);
                found = true;
            }
        }
        self.tell(stats, gaps);
        found
    }

    /// Tells all gaps, with causes as far as `stats` has them.
    pub fn tell(&mut self, stats: &[Stats], gaps: &mut Vec<GapEvent>) {
        for (index, state) in self.cpus.iter_mut().enumerate() {
            let Some((lost, first_seq, last_seq)) = state.missing.take() else { continue };
            let mut causes = stats.get(index).map_or_else(Vec::new, |stats| state.attribute(stats, lost));
            let explained: u64 = causes.iter().map(|(_, number)| number).sum();
            let undecodable = self.undecodable.min(lost.saturating_sub(explained));
            if undecodable > 0 {
                self.undecodable -= undecodable;
                causes.push(("undecodable", undecodable));
            }
            let cpu = Some(index as u32);
            gaps.push(GapEvent { lost, cpu, first_seq, last_seq, stage: "kernel", causes });
        }
        self.waiting = 0;
    }
}

impl Cpu {
    fn miss(&mut self, first: u64, last: u64) {
        let lost = last - first + 1;
        self.missing = Some(match self.missing {
            Some((before, begin, _)) => (before + lost, begin, last),
            None => (lost, first, last),
        });
    }

    /// Notes a sample; returns the losses that no gap has been attributed to.
    fn sampled(&mut self, stats: &Stats) -> u64 {
        let losses = losses_by_cause(stats);
        // What was lost before a base was known is not ours to tell.
        if !self.sampled && self.last.is_none() {
            self.attributed = losses;
        }
        self.sampled = true;
        losses
            .iter()
            .zip(self.attributed)
            .fold(0, |sum: u64, (now, told)| sum.saturating_add(now.saturating_sub(told)))
    }

    fn attribute(&mut self, stats: &Stats, lost: u64) -> Vec<(&'static str, u64)> {
        let mut rest = lost;
        let mut causes = Vec::new();
        for (cause, (now, told)) in losses_by_cause(stats).into_iter().zip(&mut self.attributed).enumerate() {
            let number = now.saturating_sub(*told).min(rest);
            if number > 0 {
                *told += number;
                rest -= number;
                causes.push((Loss::name_of(cause), number));
            }
        }
        causes
    }
}

fn losses_by_cause(stats: &Stats) -> [u64; LOSS_MAX as usize] {
    stats
        .lost
        .map(|kinds: [u64; KIND_MAX as usize]| kinds.iter().fold(0, |sum: u64, n| sum.saturating_add(*n)))
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
