//! Makes a first configuration: from a few answers (`hactl init`), or from the files of another manager (`hactl import`).
//!
//! * [`draft`]: what a configuration says, and its texts with comments;
//! * [`answers`]: whether an answer can stand in a configuration;
//! * [`keepalived`]: reads the files of keepalived;
//! * [`folder`]: writes the files into a folder, checked before they are there, and never over others.

pub mod answers;
pub mod draft;
pub mod folder;
pub mod keepalived;
