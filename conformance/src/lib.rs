//! Compares: model traces with running nodes, our bytes with ZooKeeper's, clients with both.
