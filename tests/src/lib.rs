//! Tests of Peel as a whole: the suite of small graphs, broken graphs, the example graphs, the rules of the
//! house, and the `peel` command from outside.

#[cfg(test)]
mod architecture;
