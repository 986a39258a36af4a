//! Which transaction must come before which, and whether that goes round in a circle.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::versions::{Version, Versions};
use crate::{Key, Operation, Transaction};

/// Why one transaction must come before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The next one read what it wrote.
    ReadBy,
    /// The next one appended to the list it had appended to.
    AppendedToBy,
    /// The next one appended to the list it had read.
    ReadBefore,
    /// It was answered before the next one was sent.
    AnsweredBefore,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ReadBy => "read by",
            Self::AppendedToBy => "appended to by",
            Self::ReadBefore => "read before",
            Self::AnsweredBefore => "answered before",
        })
    }
}

/// Nodes 0.. are the transactions, then one node for each answer, in the order of time. Real time is expressed through
/// those: a transaction leads to the node of its answer, that to the next answer's, and the last one before a
/// transaction was sent leads to it. So there are three edges for a transaction instead of one for each pair.
pub struct Graph {
    ids: Vec<u64>,
    edges: Vec<Vec<(usize, Reason)>>,
    dependencies: usize,
}

impl Graph {
    pub fn of(transactions: &[&Transaction], versions: &Versions) -> Self {
        let ids: Vec<u64> = transactions.iter().map(|transaction| transaction.id).collect();
        let nodes: HashMap<u64, usize> = ids.iter().enumerate().map(|(node, id)| (*id, node)).collect();
        let mut graph = Self { edges: vec![Vec::new(); ids.len()], ids, dependencies: 0 };
        for list in versions.lists() {
            for pair in list.windows(2) {
                graph.depend(nodes[&pair[0]], nodes[&pair[1]], Reason::AppendedToBy);
            }
        }
        for (node, transaction) in transactions.iter().enumerate() {
            for operation in &transaction.operations {
                if let Operation::Read { key, values } = operation {
                    if let Some(writer) = versions.writer(*key, values.len()) {
                        graph.depend(nodes[&writer], node, Reason::ReadBy);
                    }
                    if let Some(writer) = next_writer(versions, *key, values.len(), transaction.id) {
                        graph.depend(node, nodes[&writer], Reason::ReadBefore);
                    }
                }
            }
        }
        graph.add_real_time(transactions);
        graph
    }

    /// How many edges come from what transactions read and wrote.
    pub fn dependencies(&self) -> usize {
        self.dependencies
    }

    fn depend(&mut self, before: usize, after: usize, reason: Reason) {
        if before != after {
            self.edges[before].push((after, reason));
            self.dependencies += 1;
        }
    }

    fn add_real_time(&mut self, transactions: &[&Transaction]) {
        let mut answers: Vec<(u64, usize)> = transactions
            .iter()
            .enumerate()
            .filter_map(|(node, transaction)| Some((transaction.end?, node)))
            .collect();
        answers.sort_unstable();
        let first_answer = self.edges.len();
        self.edges.resize(first_answer + answers.len(), Vec::new());
        for (position, (_, node)) in answers.iter().enumerate() {
            self.edges[*node].push((first_answer + position, Reason::AnsweredBefore));
            if position > 0 {
                self.edges[first_answer + position - 1]
                    .push((first_answer + position, Reason::AnsweredBefore));
            }
        }
        for (node, transaction) in transactions.iter().enumerate() {
            let earlier = answers.partition_point(|(end, _)| *end < transaction.start);
            if earlier > 0 {
                self.edges[first_answer + earlier - 1].push((node, Reason::AnsweredBefore));
            }
        }
    }

    /// A cycle of as few edges as any, each transaction with why it must come before the next.
    pub fn shortest_cycle(&self) -> Option<Vec<(u64, Reason)>> {
        let cyclic = self.nodes_on_cycles();
        let starts = (0..self.ids.len()).filter(|node| cyclic[*node]);
        starts.filter_map(|node| self.cycle_through(node, &cyclic)).min_by_key(Vec::len)
    }

    /// The nodes that are left when those without an edge in, or without one out, are taken away as long as there are
    /// any. Empty exactly if there is no cycle.
    fn nodes_on_cycles(&self) -> Vec<bool> {
        let forward = &self.edges;
        let mut backward = vec![Vec::new(); forward.len()];
        for (before, edges) in forward.iter().enumerate() {
            edges.iter().for_each(|(after, _)| backward[*after].push((before, Reason::AnsweredBefore)));
        }
        let mut left = vec![true; forward.len()];
        for (edges_out, edges_in) in [(forward, &backward), (&backward, forward)] {
            let alive = |node: &&(usize, Reason), left: &[bool]| left[node.0];
            let mut degrees: Vec<usize> =
                edges_in.iter().map(|edges| edges.iter().filter(|edge| alive(edge, &left)).count()).collect();
            let mut free: Vec<usize> =
                (0..left.len()).filter(|node| left[*node] && degrees[*node] == 0).collect();
            while let Some(node) = free.pop() {
                left[node] = false;
                for (next, _) in edges_out[node].iter() {
                    degrees[*next] = degrees[*next].saturating_sub(1);
                    if left[*next] && degrees[*next] == 0 {
                        free.push(*next);
                    }
                }
            }
        }
        left
    }

    /// The shortest way from a transaction back to itself, by breadth.
    fn cycle_through(&self, start: usize, cyclic: &[bool]) -> Option<Vec<(u64, Reason)>> {
        let mut came_by: HashMap<usize, (usize, Reason)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &(next, reason) in self.edges[node].iter().filter(|(next, _)| cyclic[*next]) {
                if came_by.contains_key(&next) {
                    continue;
                }
                came_by.insert(next, (node, reason));
                if next == start {
                    return Some(self.path_to(start, &came_by));
                }
                queue.push_back(next);
            }
        }
        None
    }

    fn path_to(&self, start: usize, came_by: &HashMap<usize, (usize, Reason)>) -> Vec<(u64, Reason)> {
        let mut path = Vec::new();
        let mut node = start;
        loop {
            let (before, reason) = came_by[&node];
            // The nodes of answers only stand between two transactions.
            if let Some(id) = self.ids.get(before) {
                path.push((*id, reason));
            }
            if before == start {
                path.reverse();
                return path;
            }
            node = before;
        }
    }
}

/// Who made the next version of a key, if not the reader of this one: of what a transaction itself appends after its
/// read, it is the append behind them that somebody else made.
fn next_writer(versions: &Versions, key: Key, version: Version, reader: u64) -> Option<u64> {
    (version + 1..).map_while(|next| versions.writer(key, next)).find(|writer| *writer != reader)
}
