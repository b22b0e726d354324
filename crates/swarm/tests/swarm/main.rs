//! The load tool against a real pool: each question with small numbers, and what it says when it cannot be answered.

mod rig;

mod churn;
mod errors;
mod fanout;
mod hostile;
mod idle;
mod throughput;
