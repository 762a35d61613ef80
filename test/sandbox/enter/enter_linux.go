package enter

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Net calls fn on a thread inside the target's network namespace. Sockets that
// fn opens stay there; goroutines that fn starts do not run there.
func (t Target) Net(fn func() error) error {
	ns, err := os.Open(filepath.Join(string(t), "ns/net"))
	if err != nil {
		return fmt.Errorf("find the network namespace: %w", err)
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return fn()
	})
}

// kinds are the namespaces that Run enters. Mount comes last: the others'
// files are open by then, but PATH and chdir should see the new root.
var kinds = []struct {
	name string
	flag int
}{
	{"cgroup", unix.CLONE_NEWCGROUP},
	{"ipc", unix.CLONE_NEWIPC},
	{"uts", unix.CLONE_NEWUTS},
	{"net", unix.CLONE_NEWNET},
	{"pid", unix.CLONE_NEWPID},
	{"mnt", unix.CLONE_NEWNS},
}

// Run runs cmd inside all namespaces of the target and waits for it. Where the
// caller is killed meanwhile, the command goes on until the target's PID
// namespace ends: a parent-death signal does not work across PID namespaces,
// because the child can't see its parent.
func (t Target) Run(cmd *exec.Cmd) error {
	files := make([]*os.File, len(kinds))
	for i, k := range kinds {
		f, err := os.Open(filepath.Join(string(t), "ns", k.name))
		if err != nil {
			return fmt.Errorf("find the %s namespace: %w", k.name, err)
		}
		defer f.Close()
		files[i] = f
	}
	return onThread(func() error {
		// A thread that shares its root and working folder with others can't
		// change its mount namespace (setns(2)).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare the file system attributes: %w", err)
		}
		for i, k := range kinds {
			if err := unix.Setns(int(files[i].Fd()), k.flag); err != nil {
				return fmt.Errorf("enter the %s namespace: %w", k.name, err)
			}
		}
		return cmd.Run()
	})
}

// onThread calls fn on a thread of its own that ends afterwards, so that
// nothing fn did to the thread reaches other goroutines. It is never the main
// thread, which can't end and which /proc/self shows.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			result <- onThread(fn) // another one: this goroutine holds the main thread
			return
		}
		result <- fn()
		// Still locked: the thread ends with the goroutine.
	}()
	return <-result
}
