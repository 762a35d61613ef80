package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/detnet/detnet/test/fq/debian"
)

// ciliumModule is the module of which Cilium's BPF programs are compiled, in the
// version of this module's go.mod.
const ciliumModule = "github.com/cilium/cilium"

// compiler is that of Debian's that Cilium's sources compile with.
var compiler = debian.Set{Package: "clang-19", Root: "clang"}

const (
	compilerFolder  = "clang" // below the cache
	compilerProgram = "lib/llvm-19/bin/clang"
)

// ciliumFlags are those with which Cilium's agent compiles its programs
// (pkg/datapath/loader/compile.go).
var ciliumFlags = []string{
	"-O2", "-g", "--target=bpf", "-std=gnu99", "-nostdinc", "-ftrap-function=__undefined_trap",
	"-Wno-address-of-packed-member", "-Wno-unknown-warning-option", "-Wno-gnu-variable-sized-type-not-at-end", "-mcpu=v3",
}

// ciliumSettings are what the agent defines for IPv4 alone, native routing without
// endpoint routes, the host firewall and the bandwidth manager: what make
// test-cilium runs, without messages for debugging.
var ciliumSettings = []string{
	"-DENABLE_IPV4=1", "-DENABLE_ROUTING=1", "-DENABLE_HOST_FIREWALL=1", "-DENABLE_BANDWIDTH_MANAGER=1",
	"-DMONITOR_AGGREGATION=3", "-DSKIP_DEBUG=1",
}

// tunnelKind is what a tunnel needs: modules in the order in which to load them, a program of
// Cilium's, and what the agent defines.
type tunnelKind struct {
	modules  []string
	object   string
	settings []string
}

// tunnels are those of the guest's limiters, by a word of their names.
var tunnels = map[string]tunnelKind{
	"wireguard": {
		[]string{"libchacha", "chacha-x86_64", "libpoly1305", "poly1305-x86_64", "libchacha20poly1305",
			"libcurve25519-generic", "curve25519-x86_64", "libcurve25519", "udp_tunnel", "ip6_udp_tunnel", "wireguard"},
		"bpf_wireguard", []string{"-DENABLE_WIREGUARD=1"},
	},
	// 100 is the number of the device in the guest.
	"vxlan": {[]string{"udp_tunnel", "ip6_udp_tunnel", "vxlan"}, "bpf_overlay", []string{"-DTUNNEL_MODE=1", "-DENCAP_IFINDEX=100"}},
}

// tunnelOf is that of a limiter's name; empty: none.
func tunnelOf(limiter string) tunnelKind {
	for _, word := range strings.Split(limiter, "-") {
		if t, ok := tunnels[word]; ok {
			return t
		}
	}
	return tunnelKind{}
}

// ciliumObjects compiles Cilium's own programs: that of the node's device, which
// limits, that of a pod, which marks what it sends, and that of a tunnel's device.
func ciliumObjects(ctx context.Context, cache, limiter string, log *slog.Logger) (map[string][]byte, error) {
	folder := filepath.Join(cache, compilerFolder)
	if err := compiler.Ensure(ctx, folder, log); err != nil {
		return nil, err
	}
	sources, err := ciliumSources(ctx)
	if err != nil {
		return nil, err
	}
	by := tunnelOf(limiter)
	names, settings := []string{"bpf_host", "bpf_lxc"}, slices.Concat(ciliumSettings, by.settings)
	if by.object != "" {
		names = append(names, by.object)
	}
	objects := map[string][]byte{}
	for _, name := range names {
		if objects["cilium/"+name+".o"], err = compile(ctx, filepath.Join(folder, compiler.Root), filepath.Join(sources, "bpf"), name, settings); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// ciliumSources is the folder of the module, which the go command fetches and
// checks.
func ciliumSources(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", ciliumModule).Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); err == nil {
		err = jsonErr
	}
	if err != nil {
		return "", fmt.Errorf("fetch the sources of %s: %w %s", ciliumModule, err, module.Error)
	}
	return module.Dir, nil
}

func compile(ctx context.Context, root, bpf, name string, settings []string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "detnet-bpf-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // left over, it is in the way of nothing
	object := filepath.Join(dir, name+".o")
	args := append([]string{"-I" + bpf, "-I" + filepath.Join(bpf, "include")}, ciliumFlags...)
	args = append(args, settings...)
	args = append(args, "-c", filepath.Join(bpf, name+".c"), "-o", object)
	if out, err := debian.Command(ctx, root, compilerProgram, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile Cilium's %s: %w\n%s", name, err, out)
	}
	return os.ReadFile(object)
}
