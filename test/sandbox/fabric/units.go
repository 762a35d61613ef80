package fabric

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/machine"
	"github.com/detnet/detnet/test/sandbox/pid1"
)

// renewTimeout bounds how long the kernel may take to let go of a dead machine's
// cgroups.
const renewTimeout = 10 * time.Second

// units starts and stops what runs in the fabric.
type units struct {
	spec   *instance.Spec
	reaper *pid1.Reaper
	log    *slog.Logger

	mu       sync.Mutex
	procs    map[string]*pid1.Process
	gates    map[string]*os.File // write ends; see machine.Go
	kubelets bool                // whether kubelets may start
}

func newUnits(s *instance.Spec, r *pid1.Reaper, log *slog.Logger) *units {
	return &units{spec: s, reaper: r, log: log, procs: map[string]*pid1.Process{}, gates: map[string]*os.File{}}
}

func (u *units) names() []string {
	return append([]string{Etcd, APIServer, ControllerManager, Scheduler}, u.spec.NodeNames()...)
}

// start starts a unit, which then runs until ctx ends or it is stopped; one that
// runs is left alone.
func (u *units) start(ctx context.Context, name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.runningLocked(name) {
		return nil
	}
	start := u.startProgram
	if _, err := u.spec.Index(name); err == nil {
		start = u.startMachine
	}
	p, err := start(ctx, name)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	u.procs[name] = p
	go func() {
		<-p.Done
		u.log.Info("unit ended", "unit", name, "status", p.Err())
	}()
	return nil
}

func (u *units) startProgram(ctx context.Context, name string) (*pid1.Process, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(u.spec.Cache.Bin(), name), arguments(u.spec, name)...)
	return u.startLogged(cmd, name)
}

// startMachine starts a machine's first process in namespaces of its own, plugs
// it into the network and opens its gate.
func (u *units) startMachine(ctx context.Context, name string) (*pid1.Process, error) {
	i, err := u.spec.Index(name)
	if err != nil {
		return nil, err
	}
	renewing, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	// A kubelet that finds cgroups of pods from before takes them for running.
	if err := u.spec.Cgroups.Renew(renewing, name); err != nil {
		return nil, err
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	cmd := machine.Command(ctx, u.spec, i, gate)
	p, err := u.startLogged(cmd, name)
	if err != nil {
		open.Close()
		return nil, err
	}
	if err := plug(u.spec, i, p.Pid); err != nil {
		open.Close()
		p.Kill()
		return nil, err
	}
	u.gates[name] = open
	go func() {
		<-p.Done
		open.Close()
	}()
	signals := []byte{machine.Plugged}
	if u.kubelets {
		signals = append(signals, machine.APIReady)
	}
	if _, err := open.Write(signals); err != nil {
		p.Kill()
		return nil, fmt.Errorf("open the gate: %w", err)
	}
	return p, nil
}

func (u *units) startLogged(cmd *exec.Cmd, name string) (*pid1.Process, error) {
	log, err := openLog(u.spec, name)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return u.reaper.Start(cmd)
}

// releaseKubelets lets the machines' kubelets start, now and in machines
// started later.
func (u *units) releaseKubelets() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.kubelets = true
	for name, gate := range u.gates {
		if _, err := gate.Write([]byte{machine.APIReady}); err != nil {
			u.log.Error("open the gate", "node", name, "err", err)
		}
	}
}

// stop kills a unit, as a power cut would; a machine takes all its processes
// with it.
func (u *units) stop(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.runningLocked(name) {
		u.procs[name].Kill()
	}
	delete(u.gates, name)
}

func (u *units) running(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.runningLocked(name)
}

func (u *units) runningLocked(name string) bool {
	p, ok := u.procs[name]
	if !ok {
		return false
	}
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

func (u *units) list() []instance.Unit {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []instance.Unit
	for _, name := range u.names() {
		unit := instance.Unit{Name: name, Running: u.runningLocked(name)}
		if unit.Running {
			unit.Pid = u.procs[name].Pid
		}
		list = append(list, unit)
	}
	return list
}

// handler answers GET /units and POST /units/{name}/start and /stop.
func (u *units) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /units", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(u.list()) // the client is gone: nobody to tell
	})
	mux.HandleFunc("POST /units/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		name, action := r.PathValue("name"), r.PathValue("action")
		if !slices.Contains(u.names(), name) {
			http.Error(w, "no unit "+name, http.StatusNotFound)
			return
		}
		switch action {
		case "start":
			if err := u.start(context.WithoutCancel(r.Context()), name); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		case "stop":
			u.stop(name)
		default:
			http.Error(w, "no action "+action, http.StatusNotFound)
		}
	})
	return mux
}
