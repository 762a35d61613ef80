// Command guest is the first and only process of a virtual machine in which a
// limiter like Cilium's paces real traffic through a real fq. It plays the
// scenarios, or single cases of them, that the kernel's command line names
// (play=a,b/case,c@SECONDS) and prints a figure a line, as JSON behind the word FIGURE; then it ends the machine.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/fq/figure"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("guest:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // the emulator ends there
	select {}
}

func run() error {
	if os.Getenv(seeded) == "" {
		if err := setUp(); err != nil {
			return err
		}
	}
	args, err := arguments()
	if err != nil {
		return err
	}
	if os.Getenv(seeded) == "" {
		return beginAnew(args["seed"])
	}
	var known bool
	if limitedBy, known = limiters[args["limiter"]]; !known {
		return fmt.Errorf("no limiter %q", args["limiter"])
	}
	for _, play := range strings.Split(args["play"], ",") {
		play, length, given := strings.Cut(play, "@")
		if !given {
			length = args["seconds"]
		}
		seconds, err := strconv.ParseFloat(length, 64)
		if err != nil {
			return fmt.Errorf("seconds of %s are %q: %w", play, length, err)
		}
		name, variant, _ := strings.Cut(play, "/")
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("no scenario %q", name)
		}
		if err := scenarios[i].run(time.Duration(seconds*float64(time.Second)), only(variant)); err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
	}
	fmt.Println(figure.End)
	return nil
}

// setUp does what an init does: mounts, and modules in the order of their names.
func setUp() error {
	for _, m := range []struct{ kind, on string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.on, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.on, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	files, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, file := range files {
		if err := loadModule(file); err != nil {
			return fmt.Errorf("load %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func loadModule(module string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", unix.MODULE_INIT_COMPRESSED_FILE)
}

// arguments are the words NAME=VALUE of the kernel's command line.
func arguments() (map[string]string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	args := map[string]string{}
	for _, word := range strings.Fields(string(line)) {
		if name, value, ok := strings.Cut(word, "="); ok {
			args[name] = value
		}
	}
	return args, nil
}
