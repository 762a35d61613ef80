package main

import (
	"os"
	"runtime"

	"github.com/detnet/detnet/test/bench/threads"
)

// niceness is that of the threads which answer for the agents. In a cluster they are on other
// machines, and take no processor from the leader.
const niceness = 10

// The main goroutine keeps its thread, and so the priority that this process began with: what is started
// from it, the API server and the controllers, has that one too.
func init() { runtime.LockOSThread() }

// yield has the other threads, and those that come of them, run after the rest.
func yield() error { return threads.Nice(niceness, os.Getpid()) }
