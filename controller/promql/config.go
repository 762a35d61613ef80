package promql

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"time"

	"github.com/detnet/detnet/internal/httpurl"
)

// Config says which server is asked and how.
type Config struct {
	// URL is the Prometheus server that apps with the probe prometheus are
	// measured by, such as http://prometheus.monitoring:9090, or anything else
	// that serves its HTTP API. Without one such apps are not measured.
	URL string `yaml:"url"`
	// TokenFile holds the bearer token that the server wants. It is read anew for
	// every query: what rotates it need not tell anybody.
	TokenFile string `yaml:"tokenFile"`
	// CAFile holds the certificates, in PEM, that vouch for the server's own instead
	// of the system's. It is read anew for every query.
	CAFile string `yaml:"caFile"`
	// Unit is what the numbers that queries yield count: seconds or
	// milliseconds.
	Unit string `yaml:"unit"`
	// Interval is the time between two times that a query is asked.
	Interval time.Duration `yaml:"interval"`
	// Timeout is how long the server may take for it.
	Timeout time.Duration `yaml:"timeout"`
	// ScrapeInterval is that of the series that queries read: together with a
	// query's range it is how late the query tells of a change.
	ScrapeInterval time.Duration `yaml:"scrapeInterval"`
	// MaxAge is how old the newest value of each series may be. With older ones
	// an app is blind.
	MaxAge time.Duration `yaml:"maxAge"`
}

// units by their names.
var units = map[string]time.Duration{"seconds": time.Second, "milliseconds": time.Millisecond}

// DefaultConfig asks nobody.
func DefaultConfig() Config {
	return Config{Unit: "seconds", Interval: 5 * time.Second, Timeout: 2 * time.Second, ScrapeInterval: 30 * time.Second, MaxAge: time.Minute}
}

// Validate reports every value that is out of its range.
func (c Config) Validate() error {
	var errs []error
	if u, ok := validURL(c.URL); !ok {
		errs = append(errs, fmt.Errorf("url: %q must be empty or an http or https URL without password and query, such as http://prometheus.monitoring:9090", u))
	}
	for _, f := range []struct{ name, path string }{{"tokenFile", c.TokenFile}, {"caFile", c.CAFile}} {
		switch {
		case f.path == "":
		case !path.IsAbs(f.path):
			errs = append(errs, fmt.Errorf("%s: %q must be empty or an absolute path", f.name, f.path))
		case !httpurl.Encrypted(c.URL):
			errs = append(errs, fmt.Errorf("%s: url must be an https URL: over http nobody vouches for the server, and anybody on the way reads the token", f.name))
		}
	}
	if units[c.Unit] == 0 {
		errs = append(errs, fmt.Errorf("unit: %q must be seconds or milliseconds", c.Unit))
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		from, to time.Duration
	}{
		{"interval", c.Interval, time.Second, time.Minute},
		{"timeout", c.Timeout, 100 * time.Millisecond, 30 * time.Second},
		{"scrapeInterval", c.ScrapeInterval, 100 * time.Millisecond, 10 * time.Minute},
		{"maxAge", c.MaxAge, time.Second, time.Hour},
	} {
		if d.value < d.from || d.value > d.to {
			errs = append(errs, fmt.Errorf("%s: %v must be from %v to %v", d.name, d.value, d.from, d.to))
		}
	}
	if errs == nil && c.MaxAge <= c.ScrapeInterval {
		errs = append(errs, fmt.Errorf("maxAge: %v must be more than scrapeInterval, %v: data is that old before the next scrape", c.MaxAge, c.ScrapeInterval))
	}
	return errors.Join(errs...)
}

// validURL refuses passwords, and hides them: the configuration is no place for
// secrets, nor is the log.
func validURL(text string) (shown string, ok bool) {
	if text == "" {
		return "", true
	}
	u, err := url.Parse(text)
	if err != nil {
		return "unreadable", false
	}
	return u.Redacted(), (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
