package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/internal/plainfile"
)

// Settings is what the files say together.
type Settings struct {
	Config
	Targets targets.Targets
}

// Names of the files, as metrics and messages call them.
const (
	ConfigFile  = "configuration"
	TargetsFile = "static-targets"
)

// Files are the controller's configuration and its static targets, both
// optional and both followed as they change. The constants of the targets lie
// below the configuration, the flags above it.
type Files struct {
	over            func(Config) (Config, error)
	config, targets file
	open            bool     // there is a last good state
	good            Settings // it
	valid           *prometheus.GaugeVec
}

// file is one file that may change. Without a path it is empty for ever.
type file struct {
	name, path string
	seen, good []byte // good is that of the configuration alone
	gone       int    // looks in a row at which it could not be read
	why        error  // that was so at the last one
}

// Open reads the files; an empty path is a file that says nothing. over lays
// the flags over a configuration.
func Open(configPath, targetsPath string, over func(Config) (Config, error)) (*Files, Settings, error) {
	f := &Files{over: over, config: file{name: ConfigFile, path: configPath}, targets: file{name: TargetsFile, path: targetsPath}}
	for _, one := range []*file{&f.config, &f.targets} {
		if one.path == "" {
			continue
		}
		text, err := plainfile.Read(one.path)
		if err != nil {
			return nil, Settings{}, fmt.Errorf("read %s: %w", one.name, err)
		}
		one.seen = text
	}
	for _, err := range f.load() {
		return nil, Settings{}, err
	}
	f.open = true
	return f, f.good, nil
}

// Register makes the metric known. Call it before Follow.
func (f *Files) Register(reg prometheus.Registerer) {
	f.valid = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "detnet_config_valid",
		Help: "1 if the file (configuration or static-targets) as it is now is in use, 0 if the last good one is.",
	}, []string{"file"})
	reg.MustRegister(f.valid)
	f.report(nil)
}

func (f *Files) report(refused map[string]error) {
	if f.valid == nil {
		return
	}
	for _, one := range []*file{&f.config, &f.targets} {
		if one.path == "" {
			continue
		}
		value := 1.0
		if refused[one.name] != nil {
			value = 0
		}
		f.valid.WithLabelValues(one.name).Set(value)
	}
}

// load takes up what was seen, as far as it can be used, and says by name which
// file can't.
func (f *Files) load() map[string]error {
	refused := map[string]error{}
	t, err := targets.Parse(f.targets.seen)
	if err == nil {
		bad := f.take(f.config.seen, t)
		if bad == nil {
			return refused
		}
		refused[ConfigFile] = f.config.in(bad)
		if !f.open {
			return refused // there is nothing to go back to
		}
		if err = f.take(f.config.good, t); err == nil {
			return refused
		}
		err = fmt.Errorf("with the configuration in use: %w", err)
	}
	refused[TargetsFile] = f.targets.in(err)
	delete(refused, ConfigFile)
	if err := f.take(f.config.seen, f.good.Targets); err != nil {
		refused[ConfigFile] = f.config.in(err)
	}
	return refused
}

// in says in which file an error is.
func (f *file) in(err error) error {
	if f.path == "" {
		return err // of the flags
	}
	return fmt.Errorf("%s %s: %w", f.name, f.path, err)
}

// take makes settings of both and keeps them if they are good.
func (f *Files) take(text []byte, t targets.Targets) error {
	c, err := Parse(text, Default().With(t.Control))
	if err != nil {
		return err
	}
	if c, err = f.over(c); err != nil {
		return err
	}
	f.good, f.config.good = Settings{c, t}, text
	return nil
}

// interval of looking at the files. They are read, not watched: a mounted
// ConfigMap changes by a swap of symlinks, and is a minute late anyway.
const interval = 2 * time.Second

// Follow looks for changes until ctx ends. After each it calls changed with the
// settings to use, and with what was refused, by the name of the file; whatever
// was refused has no part in the settings.
func (f *Files) Follow(ctx context.Context, changed func(now Settings, refused map[string]error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		config, targets := f.config.look(), f.targets.look()
		if !config && !targets {
			continue
		}
		refused := f.load()
		for _, one := range []*file{&f.config, &f.targets} {
			if one.gone > 1 {
				refused[one.name] = fmt.Errorf("%s %s: can't be read, the last good one stays: %w", one.name, one.path, one.why)
			}
		}
		f.report(refused)
		changed(f.good, refused)
	}
}

// look reads the file and reports whether there is news. A file that is not there
// once is between two mounts; twice, that is news.
func (f *file) look() bool {
	if f.path == "" {
		return false
	}
	text, err := plainfile.Read(f.path)
	if err != nil {
		if f.why = err; f.gone == 0 && !errors.Is(err, fs.ErrNotExist) {
			f.gone++
		}
		f.gone++
		return f.gone == 2
	}
	back := f.gone > 1
	f.gone = 0
	if !back && bytes.Equal(text, f.seen) {
		return false
	}
	f.seen = text
	return true
}
