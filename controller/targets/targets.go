// Package targets reads the critical-apps.yaml of the original controller as it
// is, also wrapped in a ConfigMap: endpoints to measure, Deployments to throttle
// and the constants of the original's laws. It is for those who come from there,
// and for endpoints outside the cluster; labels on pods say more.
package targets

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/workload"
)

// Targets is what a file says.
type Targets struct {
	Apps        []App
	Deployments []Deployment
	Control     Control
	// Ignored names what the file says and detnet does not do, and why; Assumed
	// what it does not say and is taken for granted.
	Ignored, Assumed []string
}

// IsZero reports that there is nothing to do.
func (t Targets) IsZero() bool {
	return len(t.Apps) == 0 && len(t.Deployments) == 0 && t.Control == (Control{})
}

// App is an endpoint to measure, in the cluster or outside of it.
type App struct {
	Name  string
	Host  string // name or address, as a pod in the cluster resolves it
	Probe workload.Probe
	SLO   workload.SLO
	Rank  int
}

// Deployment is one whose pods may be throttled without being labelled.
type Deployment struct {
	Namespace, Name string
	Initial         bitrate.Rate // 0: not given
}

// Control holds the original's constants; zero ones are not given.
type Control struct {
	Probe, Interval  time.Duration
	Window           int
	StepDown, StepUp bitrate.Rate
	Decrease         float64 // step_down below 1 is a share
	Severity         float64 // most that a violation deepens a cut by; 1: not at all
	Min, Max         bitrate.Rate
}

// file is critical-apps.yaml.
type file struct {
	CriticalApps []struct {
		Name         string  `yaml:"name"`
		Service      string  `yaml:"service"`
		Namespace    string  `yaml:"namespace"`
		Port         *int    `yaml:"port"`
		Protocol     string  `yaml:"protocol"`
		MaxJitterMs  float64 `yaml:"max_jitter_ms"`
		MaxLatencyMs float64 `yaml:"max_latency_ms"`
		Priority     int     `yaml:"priority"`
	} `yaml:"critical_apps"`
	BestEffortTargets []struct {
		Deployment       string `yaml:"deployment"`
		Namespace        string `yaml:"namespace"`
		InitialBandwidth string `yaml:"initial_bandwidth"`
	} `yaml:"best_effort_targets"`
	Control struct {
		ProbeInterval             string  `yaml:"probe_interval"`
		ControlInterval           string  `yaml:"control_interval"`
		WindowSize                int     `yaml:"window_size"`
		StepDown                  float64 `yaml:"step_down"`
		StepUp                    float64 `yaml:"step_up"`
		MinBandwidth              string  `yaml:"min_bandwidth"`
		MaxBandwidth              string  `yaml:"max_bandwidth"`
		SeverityMultiplierEnabled bool    `yaml:"severity_multiplier_enabled"`
		SeverityMaxMultiplier     float64 `yaml:"severity_max_multiplier"`
	} `yaml:"control"`
	// These two stand here in some files, below control in others.
	SeverityMultiplierEnabled bool    `yaml:"severity_multiplier_enabled"`
	SeverityMaxMultiplier     float64 `yaml:"severity_max_multiplier"`
}

// Parse reads a file. Keys that it does not know are ignored and named; all else
// that is wrong is an error with its path and what would be accepted.
func Parse(text []byte) (Targets, error) {
	text, err := unwrap(text)
	if err != nil {
		return Targets{}, err
	}
	var f file
	var t Targets
	var errs []error
	for _, err := range strict.Decode(text, &f) {
		if errors.Is(err, strict.ErrUnknown) {
			t.Ignored = append(t.Ignored, err.Error())
			continue
		}
		errs = append(errs, err)
	}
	if errs != nil {
		return Targets{}, errors.Join(errs...)
	}
	c := checker{assumed: &t.Assumed}
	for i := range f.CriticalApps {
		t.Apps = append(t.Apps, c.app(f, i))
	}
	for i, d := range f.BestEffortTargets {
		path := fmt.Sprintf("best_effort_targets[%d]", i)
		c.name(path+".deployment", d.Deployment, validation.IsDNS1123Subdomain)
		c.name(path+".namespace", cmp.Or(d.Namespace, "default"), validation.IsDNS1123Label)
		for _, earlier := range t.Deployments {
			if earlier.Name == d.Deployment && earlier.Namespace == cmp.Or(d.Namespace, "default") {
				c.fail(path+".deployment", "%q is there twice", d.Deployment)
			}
		}
		t.Deployments = append(t.Deployments, Deployment{cmp.Or(d.Namespace, "default"), d.Deployment, c.rate(path+".initial_bandwidth", d.InitialBandwidth)})
	}
	t.Control = c.control(f)
	if c.errs == nil && t.IsZero() && len(t.Ignored) > 0 {
		c.fail("the file", "has none of: %s", strings.Join(strict.Keys(reflect.TypeFor[file]()), ", "))
	}
	return t, errors.Join(c.errs...)
}

// checker turns what was decoded into what is meant and collects errors.
type checker struct {
	errs    []error
	assumed *[]string
}

// name checks a name of an object by what Kubernetes takes.
func (c *checker) name(path, name string, rule func(string) []string) {
	if name == "" {
		c.fail(path, "must be given")
	} else if bad := rule(name); len(bad) > 0 {
		c.fail(path, "%q is no name: %s", name, bad[0])
	}
}

// Ports of the original's two samples, robot-control and safety-scanner, whose
// configuration in its README gives none.
const (
	udpPort = 5201
	tcpPort = 5202
)

func (c *checker) fail(path, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

func (c *checker) app(f file, i int) App {
	in, path := f.CriticalApps[i], fmt.Sprintf("critical_apps[%d]", i)
	c.name(path+".name", in.Name, validation.IsDNS1123Subdomain)
	c.name(path+".namespace", cmp.Or(in.Namespace, "default"), validation.IsDNS1123Label)
	if net.ParseIP(in.Service) == nil {
		c.name(path+".service", cmp.Or(in.Service, in.Name, "-"), validation.IsDNS1123Subdomain)
	}
	for _, earlier := range f.CriticalApps[:i] {
		if earlier.Name == in.Name {
			c.fail(path+".name", "%q is there twice", in.Name)
		}
	}
	protocol := workload.Protocol(strings.ToLower(cmp.Or(in.Protocol, "udp")))
	if protocol != workload.UDP && protocol != workload.TCP {
		c.fail(path+".protocol", "%q must be UDP or TCP", in.Protocol)
	}
	port := c.port(path+".port", in.Port, protocol)
	a := App{
		Name: in.Name, Host: host(cmp.Or(in.Service, in.Name), in.Namespace), Rank: in.Priority,
		Probe: workload.Probe{Protocol: protocol, Port: port},
		SLO: workload.SLO{
			Jitter:  c.target(path+".max_jitter_ms", in.MaxJitterMs),
			Latency: c.target(path+".max_latency_ms", in.MaxLatencyMs),
		},
	}
	if a.SLO.IsZero() {
		c.fail(path, "must give max_jitter_ms or max_latency_ms")
	}
	return a
}

// port is the one that is given, or that of the original's sample.
func (c *checker) port(path string, given *int, protocol workload.Protocol) uint16 {
	if given == nil {
		port := udpPort
		if protocol == workload.TCP {
			port = tcpPort
		}
		*c.assumed = append(*c.assumed, fmt.Sprintf("%s: not given; %d, as in the original's sample", path, port))
		return uint16(port)
	}
	if *given < 1 || *given > 65535 {
		c.fail(path, "%d must be from 1 to 65535", *given)
		return 0
	}
	return uint16(*given)
}

// host completes the bare name of a Service, which an agent in another
// namespace could not resolve.
func host(service, namespace string) string {
	if strings.Contains(service, ".") || net.ParseIP(service) != nil {
		return service
	}
	return service + "." + cmp.Or(namespace, "default") + ".svc"
}

// target reads milliseconds; 0 is not asked for.
func (c *checker) target(path string, ms float64) time.Duration {
	d := time.Duration(ms * float64(time.Millisecond))
	if ms != 0 && !(d >= workload.MinTarget && d <= workload.MaxTarget) {
		c.fail(path, "%v must be from %v to %v, in milliseconds", ms,
			float64(workload.MinTarget)/float64(time.Millisecond), float64(workload.MaxTarget)/float64(time.Millisecond))
	}
	return d
}
