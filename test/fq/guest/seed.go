package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seeded marks the environment of a guest whose kernel has its seed.
const seeded = "SEEDED"

// The kernel's generator takes these (linux/random.h).
const (
	addEntropy = 0x40085203 // RNDADDENTROPY
	reseed     = 0x5207     // RNDRESEEDCRNG
)

// beginAnew gives the kernel's generator of random numbers a seed and starts this
// program again: everything random in it, first of all when probes are sent,
// follows from what the kernel hands to a process as it starts. Nothing else
// in the machine is random, so the same seed gives the same run.
func beginAnew(seed string) error {
	if seed == "" {
		return fmt.Errorf("no seed on the kernel's command line")
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	entropy := struct { // struct rand_pool_info
		bits, octets int32
		data         [sha256.Size]byte
	}{8 * sha256.Size, sha256.Size, sha256.Sum256([]byte(seed))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), addEntropy, uintptr(unsafe.Pointer(&entropy))); errno != 0 {
		return fmt.Errorf("seed the kernel's generator: %w", errno)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), reseed, 0); err != nil {
		return fmt.Errorf("have the kernel's generator take its seed: %w", err)
	}
	f.Close()
	return unix.Exec("/init", []string{"/init"}, append(os.Environ(), seeded+"=1"))
}
