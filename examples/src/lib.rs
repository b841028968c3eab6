//! Parts shared by the example programs.
