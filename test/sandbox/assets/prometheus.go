package assets

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
)

// prometheusPrograms are what Debian's package prometheus holds, for the tests
// that ask a real one.
var prometheusPrograms = []string{"prometheus", "promtool"}

// ensurePrometheus takes the programs out of the distribution's package,
// without installing it: that would start a service. Those in the PATH will do.
func (c Cache) ensurePrometheus(ctx context.Context, log *slog.Logger) error {
	if c.hasPrometheus() {
		return nil
	}
	advice := "install Prometheus, or do without the tests that ask a real one"
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("prometheus and promtool are not in the PATH; %s", advice)
	}
	unlock, err := c.lock(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()
	if c.hasPrometheus() { // another process may have unpacked it meanwhile
		return nil
	}
	log.Info("unpacking", "package", "prometheus")
	folder := filepath.Join(string(c), "tools", "prometheus")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	script := `apt-get download prometheus || { apt-get update && apt-get download prometheus; }
		dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb`
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the package prometheus: %w\n%s\n%s", err, lastLines(string(out), 10), advice)
	}
	for _, program := range prometheusPrograms {
		link := filepath.Join(c.Bin(), program)
		if err := os.MkdirAll(c.Bin(), 0o755); err != nil {
			return err
		}
		_ = os.Remove(link) // of an earlier try
		if err := os.Symlink(filepath.Join(folder, "usr", "bin", program), link); err != nil {
			return err
		}
	}
	return nil
}

func (c Cache) hasPrometheus() bool {
	for _, program := range prometheusPrograms {
		_, err := exec.LookPath(program)
		if err != nil {
			_, err = os.Stat(filepath.Join(c.Bin(), program))
		}
		if err != nil {
			return false
		}
	}
	return true
}
