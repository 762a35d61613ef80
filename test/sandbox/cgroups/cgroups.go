// Package cgroups gives an instance of the sandbox a branch of its own in every
// cgroup hierarchy of the host, version 1 or 2, and removes it again.
//
// Under version 1 every controller has its own hierarchy, and a machine mounts
// each anew inside its cgroup namespace. Under version 2 there is one, and a
// cgroup with processes can't hand controllers to its children, so a machine
// moves itself into a leaf first.
package cgroups

import (
	"errors"
	"slices"
	"strings"
)

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	// Mount is where the host has it, such as /sys/fs/cgroup/memory.
	Mount string
	// Options is the data argument that mounts a version 1 hierarchy again,
	// such as "cpu,cpuacct" or "none,name=systemd"; empty for version 2.
	Options string
}

func (h Hierarchy) v2() bool { return h.Options == "" }

// ErrNone reports that no usable hierarchy is mounted.
var ErrNone = errors.New("no cgroup hierarchy with a memory controller is mounted")

// notControllers are the super options of a version 1 mount that are no
// controllers.
var notControllers = map[string]bool{
	"rw": true, "ro": true, "xattr": true, "noprefix": true, "clone_children": true,
	"cpuset_v2_mode": true, "favordynmods": true,
}

// Parse finds the hierarchies in the text of /proc/self/mountinfo (proc(5)).
// Where version 1 holds the memory controller (a pure or hybrid version 1 host)
// it returns the version 1 hierarchies, else the one of version 2.
func Parse(mountinfo string) ([]Hierarchy, error) {
	var v1, v2 []Hierarchy
	hasMemory := false
	for line := range strings.Lines(mountinfo) {
		fields, super, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, s := strings.Fields(fields), strings.Fields(super)
		if !ok || len(f) < 5 || len(s) < 3 {
			continue
		}
		mount := unescape(f[4])
		switch s[0] {
		case "cgroup2":
			v2 = append(v2, Hierarchy{Mount: mount})
		case "cgroup":
			options := mountOptions(s[2])
			if options == "" || slices.ContainsFunc(v1, func(h Hierarchy) bool { return h.Options == options }) {
				continue
			}
			v1 = append(v1, Hierarchy{Mount: mount, Options: options})
			hasMemory = hasMemory || slices.Contains(strings.Split(options, ","), "memory")
		}
	}
	switch {
	case hasMemory:
		return v1, nil
	case len(v2) > 0:
		return v2[:1], nil
	}
	return nil, ErrNone
}

// mountOptions keeps the controllers and the name of a version 1 hierarchy's
// super options.
func mountOptions(super string) string {
	var controllers, named []string
	for o := range strings.SplitSeq(super, ",") {
		switch {
		case strings.HasPrefix(o, "name="):
			named = append(named, o)
		case !notControllers[o] && !strings.Contains(o, "="):
			controllers = append(controllers, o)
		}
	}
	if len(controllers) == 0 && len(named) > 0 {
		controllers = []string{"none"}
	}
	return strings.Join(append(controllers, named...), ",")
}

// unescape undoes mountinfo's octal escapes of space, tab, newline, backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
