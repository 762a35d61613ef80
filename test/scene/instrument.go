package scene

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/test/scene/record"
)

// probeInterval is the mean spacing of the instrument's packets: twice the
// rate the product uses, so that short violations are not missed.
const probeInterval = 10 * time.Millisecond

// target is one critical workload for the instrument to measure.
type target struct {
	name     string
	protocol api.Protocol
	port     uint32
	jitter   time.Duration
}

// instrument is an agent of the scene's own, apart from the product's: it
// measures in every phase, also where detnet is not installed.
type instrument struct {
	conn *grpc.ClientConn
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	apps map[string]*record.App
	errs map[string]string // why a session can't measure, by app
	err  error             // of the stream
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// newInstrument connects to the measuring pod at addr through dial.
func newInstrument(addr string, dial dialer) (*instrument, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }))
	if err != nil {
		return nil, fmt.Errorf("connect to the instrument at %s: %w", addr, err)
	}
	return &instrument{conn: conn, apps: map[string]*record.App{}, errs: map[string]string{}}, nil
}

// measure begins to probe targets at the given addresses, in place of what was
// probed before. What was recorded stays.
func (in *instrument) measure(ctx context.Context, targets []target, addresses map[string]string) error {
	in.pause()
	ctx, in.stop = context.WithCancel(ctx)
	stream, err := api.NewAgentClient(in.conn).Measure(ctx, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("start measuring: %w", err)
	}
	var assignment api.Assignment
	for _, t := range targets {
		assignment.Sessions = append(assignment.Sessions, &api.Session{
			Id: t.name, Protocol: t.protocol, Host: addresses[t.name], Port: t.port,
			MeanIntervalUs: uint32(probeInterval.Microseconds()),
		})
		in.mu.Lock()
		if in.apps[t.name] == nil {
			in.apps[t.name] = &record.App{Name: t.name, Target: t.jitter}
		}
		in.mu.Unlock()
	}
	if err := stream.Send(&assignment); err != nil {
		return fmt.Errorf("tell the instrument what to measure: %w", err)
	}
	done := make(chan struct{})
	in.done = done
	go func() {
		defer close(done)
		for {
			report, err := stream.Recv()
			if err != nil {
				in.mu.Lock()
				if ctx.Err() == nil {
					in.err = fmt.Errorf("the instrument stopped: %w", err)
				}
				in.mu.Unlock()
				return
			}
			in.add(time.Now(), report)
		}
	}()
	return nil
}

// pause stops measuring.
func (in *instrument) pause() {
	if in.stop != nil {
		in.stop()
		<-in.done
		in.stop = nil
	}
}

func (in *instrument) close() {
	in.pause()
	in.conn.Close()
}

func (in *instrument) add(now time.Time, report *api.Report) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range report.Sessions {
		in.errs[s.Id] = s.Error
		app := in.apps[s.Id]
		if app == nil {
			continue
		}
		for i, age := range s.AgeNs {
			rtt := time.Duration(s.RttNs[i])
			app.Packets = append(app.Packets, record.Packet{
				At: now.Add(-time.Duration(age)), RTT: max(rtt, 0), Lost: rtt < 0,
			})
		}
	}
}

// forget drops what was recorded.
func (in *instrument) forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, app := range in.apps {
		app.Packets = nil
	}
}

// recorded returns a copy of everything measured so far, in the order of
// targets, each app's packets in the order of sending.
func (in *instrument) recorded(targets []target) ([]record.App, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	apps := make([]record.App, 0, len(targets))
	for _, t := range targets {
		app := record.App{Name: t.name, Target: t.jitter}
		if got := in.apps[t.name]; got != nil {
			app.Packets = record.SortedByTime(got.Packets)
		}
		if in.errs[t.name] != "" {
			return nil, fmt.Errorf("measure %s: %s", t.name, in.errs[t.name])
		}
		apps = append(apps, app)
	}
	return apps, in.err
}
