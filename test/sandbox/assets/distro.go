package assets

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Clang is the compiler with which Cilium's agent makes BPF programs. Those of
// Cilium need a newer one than some distributions call clang.
const Clang = "clang-19"

// distroPrograms come from the distribution: program → Debian package. runc is
// C and Go and needs libseccomp; nft belongs to the running kernel, and so do
// the tools that people use inside a node.
var distroPrograms = map[Which]map[string]string{
	All: {
		"runc":  "runc",
		"nft":   "nftables",
		"ip":    "iproute2",
		"tc":    "iproute2",
		"mount": "mount",
	},
	Cilium119: ofCilium,
	Cilium120: ofCilium,
}

var ofCilium = map[string]string{
	Clang:      Clang,
	"iptables": "iptables",
	"ipset":    "ipset",
}

// ensureDistro installs what is missing with apt-get where that can be done,
// and otherwise says what to install.
func ensureDistro(ctx context.Context, log *slog.Logger, programs map[string]string) error {
	packages := missingPackages(programs, func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
	if len(packages) == 0 {
		return nil
	}
	advice := "install with the distribution's package manager: " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("programs are missing; %s", advice)
	}
	log.Info("installing from the distribution", "packages", packages)
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "-y", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s\n%s", args[0], err, lastLines(string(out), 10), advice)
		}
	}
	return nil
}

// missingPackages returns the packages of the programs that has denies, each
// once and sorted.
func missingPackages(programs map[string]string, has func(program string) bool) []string {
	missing := map[string]bool{}
	for program, pkg := range programs {
		if !has(program) {
			missing[pkg] = true
		}
	}
	return slices.Sorted(maps.Keys(missing))
}
