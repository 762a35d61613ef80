package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/law"
)

type replayOptions struct {
	law, config string
	output      string
	all, check  bool
}

func newReplayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Run a law over a recording and show what it decides",
		Long: `Replay runs the law of this version over what "detnet record" fetched, and shows its
decisions: each change of mind or limit, with --all every one. FILE may be - for the
standard input.

Where the plan is not the recorded one the line is marked with ≠ and the recorded
decision follows. With the recorded law and constants, and a version that decides
alike, none may differ.

With --law or --config one sees what another law or other constants would have
decided. What they are shown stays as it was recorded: had another plan been carried
out, the delays and rates after it would have been others. So the first difference
tells what would have been done, those after it only what the law thinks of a
world that it did not make. "detnet simulate" has worlds that answer.`,
		Example: "  detnet replay incident.jsonl.gz --check\n  detnet replay incident.jsonl.gz --config controller.yaml\n  detnet record -o - | detnet replay - --law aimd --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := io.NopCloser(cmd.InOrStdin())
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("open the recording: %w", err)
				}
				from = f
			}
			defer from.Close()
			return o.replay(cmd, args[0], from)
		},
	}
	f := cmd.Flags()
	f.Var(&choice{&o.law, law.Names()}, "law", oneOf(law.Names())+"; default the recorded one")
	f.StringVar(&o.config, "config", "", "take law and constants from this configuration `file` of the controller, not from the recording")
	f.VarP(format(&o.output, "text", "json"), "output", "o", "text or json")
	f.BoolVar(&o.all, "all", false, "show every decision, also those that change nothing")
	f.BoolVar(&o.check, "check", false, "fail if a plan differs from the recorded one")
	return answers(cmd, "a plan differs from the recorded one and --check asks")
}

func (o replayOptions) replay(cmd *cobra.Command, name string, from io.Reader) error {
	var rows []flight.Decision
	lines := json.NewEncoder(cmd.OutOrStdout())
	show := func(d flight.Decision) error {
		if o.output == "json" {
			return lines.Encode(d)
		}
		rows = append(rows, d)
		return nil
	}
	var news flight.News
	choose := func(recorded flight.Header) (law.Law, error) {
		fmt.Fprintf(cmd.ErrOrStderr(), "recorded by detnet %s with law %s\n", recorded.Version, recorded.Law)
		if recorded.Missed > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d steps are missing: they were too large to be recorded\n", recorded.Missed)
		}
		return o.choose(recorded)
	}
	err := flight.Replay(from, choose, func(r flight.Replayed) error {
		for _, d := range news.Of(r, o.all) {
			if err := show(d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay %s: %w", name, err)
	}
	if o.output == "text" {
		if err := text.Replay(cmd.OutOrStdout(), rows); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d plans differ from the recorded ones\n", news.Different, news.Steps)
	if o.check && news.Different > 0 {
		return found("the law decides otherwise than recorded")
	}
	return nil
}

// choose takes the law and its constants from the flags, else from the recording.
func (o replayOptions) choose(recorded flight.Header) (law.Law, error) {
	name, constants := recorded.Law, recorded.Config
	if o.config != "" {
		content, err := strict.ReadFile(o.config)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		base := config.Default()
		base.Law = recorded.Law
		c, err := config.Parse(content, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.config, err)
		}
		name, constants = c.Law, c.Laws
	}
	return law.New(cmp.Or(o.law, name), constants)
}
