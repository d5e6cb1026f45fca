//! From gathered events to a tree: each process once, with what it executed, did and created in the order of time.

use std::collections::{BTreeMap, HashMap};

use super::forest::{Exit, Forest, Image};
use crate::acts::Kind;

/// Levels below which the tree goes on at the top, so that neither lines nor nested JSON become endless: whoever makes
/// processes decides how deep they are.
pub const LEVELS: usize = 48;

/// What a process did or created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// It executed another program: the image.
    Exec(usize),
    /// It did something: the image, and the place among its acts.
    Act(usize, usize),
    /// It created a process: the place among the processes.
    Child(usize),
    /// There was no room for more of what it did.
    More,
}

/// A process.
#[derive(Debug, Default)]
pub struct Node {
    /// What it executed, in order; never empty.
    pub images: Vec<usize>,
    /// Who created it; none: not among the events.
    pub parent: Option<usize>,
    /// What it did and created, by time.
    pub items: Vec<Item>,
    /// How much of it is wanted.
    pub shown: Shown,
    /// It is one that was asked for.
    pub wanted: bool,
    /// It stands at the top because it is so many levels below its creator's top.
    pub deep: bool,
}

/// How much of a process is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    #[default]
    No,
    /// Only that it is there, for it leads to one that was asked for.
    Way,
    /// All.
    All,
}

/// The tree.
#[derive(Debug)]
pub struct Picture {
    /// The events.
    pub forest: Forest,
    /// Processes.
    pub nodes: Vec<Node>,
    /// Those at the top, by time.
    pub roots: Vec<usize>,
}

impl Picture {
    /// Makes the tree, of which is shown what leads to wanted processes, they, and what comes from them.
    pub fn new(forest: Forest, wanted: &dyn Fn(&Image) -> bool) -> Self {
        let heads = heads(&forest);
        let mut of_image = vec![0; forest.images.len()];
        let mut nodes: Vec<Node> = Vec::new();
        let mut by_head = HashMap::new();
        for (image, &head) in heads.iter().enumerate() {
            let node = *by_head.entry(head).or_insert_with(|| {
                nodes.push(Node::default());
                nodes.len() - 1
            });
            nodes[node].images.push(image);
            of_image[image] = node;
        }
        let mut creators = vec![false; forest.images.len()];
        for image in &forest.images {
            if let Some(&creator) = forest.by_id.get(&image.parent) {
                creators[creator] = true;
            }
        }
        for (index, node) in nodes.iter_mut().enumerate() {
            // The head is the first whatever its time: it may not be known.
            node.images.sort_by_key(|&image| (heads[image] != image, forest.images[image].start));
            let parent = node.images.iter().find_map(|&image| forest.by_id.get(&forest.images[image].parent));
            // What a process was between its creation and its first exec says nothing if it did nothing.
            let idle = |image: usize| {
                let of = &forest.images[image];
                !of.executed && of.acts.is_empty() && of.more.is_empty() && !creators[image]
            };
            let skipped = node.images.iter().take_while(|&&image| idle(image)).count();
            node.images.drain(..skipped.min(node.images.len() - 1));
            node.parent = parent.map(|&image| of_image[image]).filter(|&parent| parent != index);
            node.wanted = node.images.iter().any(|&image| wanted(&forest.images[image]));
        }
        let mut picture = Self { forest, nodes, roots: Vec::new() };
        let children = picture.link();
        picture.choose(&children);
        picture.arrange(children);
        picture
    }

    /// The first image of a process.
    pub fn first(&self, node: usize) -> &Image {
        &self.forest.images[self.nodes[node].images[0]]
    }

    /// How it ended; none: not among the events.
    pub fn exit(&self, node: usize) -> Option<&Exit> {
        self.nodes[node].images.iter().rev().find_map(|&image| self.forest.images[image].exit.as_ref())
    }

    /// How much of what it did there was no room for, by kind.
    pub fn more(&self, node: usize) -> BTreeMap<Kind, u64> {
        let mut sum = BTreeMap::new();
        for &image in &self.nodes[node].images {
            for (&kind, count) in &self.forest.images[image].more {
                *sum.entry(kind).or_default() += count;
            }
        }
        sum
    }

    /// Children of each process. Whoever would be their own forebear, which only a forged file tells, is taken to have
    /// no creator.
    fn link(&mut self) -> Vec<Vec<usize>> {
        let mut children = vec![Vec::new(); self.nodes.len()];
        for index in 0..self.nodes.len() {
            if let Some(parent) = self.nodes[index].parent {
                children[parent].push(index);
            }
        }
        let mut seen = vec![false; self.nodes.len()];
        let mut order: Vec<usize> =
            (0..self.nodes.len()).filter(|&i| self.nodes[i].parent.is_none()).collect();
        let mut next = 0;
        loop {
            while let Some(node) = order.pop() {
                if !std::mem::replace(&mut seen[node], true) {
                    order.extend(&children[node]);
                }
            }
            while next < seen.len() && seen[next] {
                next += 1;
            }
            if next == seen.len() {
                return children;
            }
            if let Some(parent) = self.nodes[next].parent.take() {
                children[parent].retain(|&child| child != next);
            }
            order.push(next);
        }
    }

    /// Which processes are shown.
    fn choose(&mut self, children: &[Vec<usize>]) {
        let wanted: Vec<usize> = (0..self.nodes.len()).filter(|&index| self.nodes[index].wanted).collect();
        for index in wanted {
            let mut below = vec![index];
            while let Some(node) = below.pop() {
                if self.nodes[node].shown != Shown::All {
                    self.nodes[node].shown = Shown::All;
                    below.extend(&children[node]);
                }
            }
            let mut above = self.nodes[index].parent;
            while let Some(node) = above.filter(|&node| self.nodes[node].shown == Shown::No) {
                self.nodes[node].shown = Shown::Way;
                above = self.nodes[node].parent;
            }
        }
    }

    /// Items and roots, with what is too deep among these.
    fn arrange(&mut self, children: Vec<Vec<usize>>) {
        for (index, children) in children.into_iter().enumerate() {
            let mut items: Vec<(u64, Item)> = Vec::new();
            let node = &self.nodes[index];
            if node.shown == Shown::No {
                continue;
            }
            let shown = children.into_iter().filter(|&child| self.nodes[child].shown != Shown::No);
            items.extend(shown.map(|child| (self.first(child).start, Item::Child(child))));
            if node.shown == Shown::All {
                for (place, &image) in node.images.iter().enumerate() {
                    let of = &self.forest.images[image];
                    if place > 0 {
                        items.push((of.start, Item::Exec(image)));
                    }
                    items.extend(
                        of.acts.iter().enumerate().map(|(act, done)| (done.first, Item::Act(image, act))),
                    );
                }
            }
            // Stable, so that what an event does not tell the time of stays in its order.
            items.sort_by_key(|&(time, _)| time);
            let more = node.shown == Shown::All
                && node.images.iter().any(|&image| !self.forest.images[image].more.is_empty());
            let items = items.into_iter().map(|(_, item)| item);
            self.nodes[index].items = items.chain(more.then_some(Item::More)).collect();
        }
        let top = |node: &Node| node.parent.is_none() && node.shown != Shown::No;
        let mut roots: Vec<usize> = (0..self.nodes.len()).filter(|&index| top(&self.nodes[index])).collect();
        roots.sort_by_key(|&root| self.first(root).start);
        let mut stack: Vec<(usize, usize)> = roots.iter().map(|&root| (root, 0)).collect();
        self.roots = roots;
        while let Some((node, level)) = stack.pop() {
            for place in 0..self.nodes[node].items.len() {
                let Item::Child(child) = self.nodes[node].items[place] else { continue };
                let deep = level + 1 >= LEVELS;
                if deep {
                    self.nodes[child].deep = true;
                    self.roots.push(child);
                }
                stack.push((child, if deep { 0 } else { level + 1 }));
            }
        }
    }
}

/// The first image of the process of each image.
fn heads(forest: &Forest) -> Vec<usize> {
    let previous = |image: usize| forest.by_id.get(&forest.images[image].previous).copied();
    let mut heads: Vec<Option<usize>> = vec![None; forest.images.len()];
    for start in 0..heads.len() {
        let (mut way, mut at) = (Vec::new(), start);
        let head = loop {
            if let Some(head) = heads[at] {
                break head;
            }
            // For the moment: whoever comes by here again goes in a circle, which only a forged file has.
            heads[at] = Some(at);
            way.push(at);
            match previous(at) {
                Some(before) if before != at => at = before,
                _ => break at,
            }
        };
        for image in way {
            heads[image] = Some(head);
        }
    }
    heads.into_iter().enumerate().map(|(image, head)| head.unwrap_or(image)).collect()
}
