# Everything is built by the go command; "make demo" and "make test" need
# nothing to be done before them. The first, cold run builds a Kubernetes
# cluster from source and takes about 20 minutes on two cores.

GO      ?= go
NAME    ?= detnet
SANDBOX  = cd test && $(GO) run ./sandbox/cmd/sandbox
TAG     ?= dev

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## Watch detnet protect real traffic (DURATION=20s CAPACITY=200M LOAD=tcp|udp|bursty LAW=adaptive KEEP=1)
	@cd test && $(GO) build -o ../bin/demo ./demo && cd .. && exec bin/demo

.PHONY: test
test: lint-basic test-unit test-e2e ## Run every test: unit, policy, API server, sandbox

.PHONY: lint-basic
lint-basic:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	cd test && $(GO) vet ./...

.PHONY: test-unit
test-unit: ## Unit, policy and API-server tests, with the race detector
	@$(SANDBOX) assets --only prometheus >/dev/null || echo "tests that need Prometheus will be skipped"
	@assets=$$($(SANDBOX) assets) && export KUBEBUILDER_ASSETS="$$assets" PATH="$$PATH:$$assets" && \
	cd $(CURDIR) && $(GO) test -race -timeout 40m ./... && cd test && $(GO) test -race -timeout 40m $$($(GO) list ./... | grep -v /e2e)

.PHONY: test-e2e
test-e2e: ## Three real nodes: install, stamp, protect, restart (root and Linux; IPV6=1: both families of IP, IPv6 first)
	cd test && DETNET_TEST_IPV6=$(IPV6) $(GO) test -count=1 -timeout 20m -v ./e2e/...

.PHONY: test-cilium
test-cilium: ## The same on Cilium's own agent, which is built the first time, half an hour on two cores (CILIUM=1.20 TUNNEL=1 IPV6=1; default is 1.19, native routing, IPv4)
	@$(SANDBOX) assets --only cilium-$(or $(CILIUM),1.19) >/dev/null # before there is a cluster, and not in the test's time
	cd test && DETNET_TEST_CILIUM=1 DETNET_TEST_CILIUM_RELEASE=$(CILIUM) DETNET_TEST_CILIUM_TUNNEL=$(TUNNEL) DETNET_TEST_IPV6=$(IPV6) $(GO) test -count=1 -timeout 90m -v ./cilium/...

.PHONY: test-cilium-engine
test-cilium-engine: ## What Cilium's own policy engine makes of detnet's network policies (compiles it: some minutes the first time)
	cd test && DETNET_TEST_CILIUM=1 $(GO) test -count=1 -timeout 60m -v -run TestPoliciesInCiliumsEngine ./cilium

.PHONY: test-fq
test-fq: ## Cilium's limiter, and one like it, before a real fq in a virtual machine, short (fetches 240 MB of Debian's packages the first time; in make test once they are there)
	cd test && DETNET_TEST_FQ=1 $(GO) test -count=1 -timeout 3h -v ./fq/...

# Quick ones are in make test too; these run all, the slow ones with them.
.PHONY: test-attack test-fault
test-attack: ## What a tenant, a pod or a stranger may try, and what comes of it
	@assets=$$($(SANDBOX) assets --only apiserver) && export KUBEBUILDER_ASSETS="$$assets" && cd test && $(GO) test -count=1 -timeout 30m -v ./attack/...
test-fault: ## What breaks, and what stays in force meanwhile
	@assets=$$($(SANDBOX) assets --only apiserver) && export KUBEBUILDER_ASSETS="$$assets" && cd test && $(GO) test -count=1 -timeout 30m -v ./fault/...

.PHONY: lint
lint: lint-basic ## All linters (builds golangci-lint the first time)
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...
	cd test && $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

.PHONY: bench-scale-law
bench-scale-law: ## What one tick of sense and law costs for 10 to 3,000 nodes, calm and with a tenth of them congested; and of the loop around them
	$(GO) test ./controller/law -run '^$$' -bench Scale -benchtime 20x -cpu 1
	$(GO) test ./controller -run '^$$' -bench Loop -benchtime 20x -cpu 1

.PHONY: bench-scale
bench-scale: ## The controller against 10, 30 and 100 nodes' agents, real API server (ARGS="-nodes 300 -road annotation -svg out/scale.svg")
	@assets=$$($(SANDBOX) assets --only apiserver) && export KUBEBUILDER_ASSETS="$$assets" && cd test && $(GO) run ./bench/scale $(ARGS)

.PHONY: bench-control
bench-control: ## The laws side by side on real queues, about 40 minutes (ARGS="-duration 20s -worlds tcp,udp -contenders adaptive,oracle": fewer)
	cd test && $(GO) run ./bench/control $(ARGS)

.PHONY: bench-onsets
bench-onsets: ## How soon a first cut is in force and all is clean: ten onsets on real queues, 4 minutes (ARGS="-onsets 20 -duration 10s")
	cd test && $(GO) run ./bench/control -onsets 5 $(ARGS)

.PHONY: bench-agent
bench-agent: ## CPU, memory and accuracy of the agent
	$(GO) test ./agent/bench -run '^$$' -bench . -benchtime 1x -timeout 30m
	$(GO) test ./agent/probe -run '^$$' -bench 'Cost|Quantiles' -benchtime 1x

.PHONY: bench-probe bench-probe-soak
bench-probe: ## detnet probe beside irtt, ping and fping (those that are installed) and a capture, and what it costs
	$(GO) test ./agent/bench -run '^$$' -bench Peers -benchtime 1x -timeout 10m -v
	$(GO) test ./agent/probe -run '^$$' -bench Cost -benchtime 1x
bench-probe-soak: ## What 2,000 packets a second cost, from beginning to end (DURATION=1h)
	DETNET_BENCH_SOAK=$(or $(DURATION),1h) $(GO) test ./agent/bench -run '^$$' -bench Soak -benchtime 1x -timeout 0 -v

.PHONY: bench-admission
bench-admission: ## Added latency and failed creates on the real API server (ARGS=-short)
	cd test && $(GO) run ./bench/admission $(ARGS)

.PHONY: bench-attack
bench-attack: ## What floods of connections, streams and headers do to each listener: memory, and who is still served
	cd test && $(GO) test ./attack -run TestListenersUnderAttack -count=1 -timeout 30m -v

.PHONY: bench-fq
bench-fq: ## A limiter like Cilium's before a real fq, in a virtual machine with virtual time (ARGS="-play bands -seconds 2": fewer; ARGS="-limiter cilium": Cilium's own)
	cd test && $(GO) run ./fq $(ARGS)

.PHONY: simulate
simulate: ## The laws side by side in simulated worlds; report in out/simulate
	$(GO) run ./cmd/detnet simulate --out out/simulate $(ARGS)

.PHONY: limiters
limiters: ## Every world before each limiter beside its bound, into docs/benchmarks/cilium-worlds.md: 40 minutes of processor time (ARGS="-seeds 5 -more 15": more seeds)
	$(GO) run ./sim/limiters $(ARGS)

.PHONY: image
image: ## Build the images as dist/detnet-images.tar, without a daemon
	cd test && $(GO) run ./image -o ../dist/detnet-images.tar -tag $(TAG)

.PHONY: sandbox-up sandbox-down
sandbox-up: ## Bring up three real nodes and leave them up (NAME=detnet)
	$(SANDBOX) --name $(NAME) up
sandbox-down: ## Take them down (NAME=detnet)
	$(SANDBOX) --name $(NAME) down

.PHONY: generate
generate: ## Regenerate the gRPC contract (needs protoc)
	GOBIN=$(CURDIR)/bin $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(CURDIR)/bin $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	PATH="$(CURDIR)/bin:$$PATH" $(GO) generate ./...

.PHONY: clean
clean: ## Remove what was built here (the cluster's cache stays)
	rm -rf bin dist out
