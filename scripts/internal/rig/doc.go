// Package rig measures: it holds what ./scripts/bench is built from.
//
// [Load] is a closed-loop load generator over raw keep-alive HTTP/1.1, cheap
// enough not to be most of what it measures. [Upstream] is the vendor it calls,
// [Floor] the least a gateway can do, to which costs are compared. [CPU] and
// [Processes] read what the scheduler counted per process, [FirstPoll] starts a
// function the way Lambda does, [StartFunction] hands events to one. [Spawn] runs each of these roles in a process of
// its own, because costs are told apart by process.
//
// Guarantees: every loop is bounded by time and by count, every listener is on
// 127.0.0.1, and a child ends when its parent does, however that ends.
//
// Limits: load generator, vendor and system share the machine, so rates mean "on
// what is left of it"; CPU and memory are read from /proc and are zero elsewhere.
package rig
