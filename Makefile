# Swell's two commands are `make demo` and `make test`. Both do all of their own set-up.

.DEFAULT_GOAL := build
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

include make/checks.mk
include make/deps.mk

.PHONY: build
build: check-go deps ## build everything into ./bin

.PHONY: demo
demo: check-root build bin/httpserver ## a pod is created, resized under load and billed
	@go run ./examples/demo

.PHONY: test
test: check-root build test-deps generated vet ## everything that can be tested on this machine
	PATH="$(CURDIR)/bin:$$PATH" go test -timeout 35m ./...

# One thing at a time, for people who work on Swell.
.PHONY: vet
vet: check-go
	go vet ./...
	@unformatted=$$(gofmt -l *.go $(SOURCE_FOLDERS) e2e examples perf); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }

# As much as half an hour of two cores holds; docs/performance.md has the commands for more.
.PHONY: bench
bench: check-root build bin/httpserver bin/ctr ## measure everything but peers, into perf/results and docs/performance.md
	go run ./perf start
	go run ./perf slots
	go run ./perf resize
	go run ./perf probe
	go run ./perf idle --rounds 3
	go run ./perf boost --rounds 3
	go run ./perf create --pods 50000
	go run ./perf create --pods 20000 --rate 1000 --rounds 3
	go run ./perf create --pods 20000 --encoding json --rounds 3
	go run ./perf list-watch --rounds 3
	go run ./perf scale --nodes 100,1000 --pods 10000 --rounds 3
	go run ./perf restart --rounds 3
	go run ./perf burst --rounds 3
	go run ./perf kill --rounds 3
	go run ./perf churn --rounds 1
	go run ./perf rate --rounds 3
	go run ./perf bill --rounds 3
	go run ./perf ledger --segments 1000000 --rounds 3
	go run ./perf ledger --postgres --segments 300000 --rounds 3
	$(MAKE) report

.PHONY: report
report: check-go ## write the tables and plots of docs/performance.md and docs/resize.md from perf/results
	go run ./perf report
	go run ./perf report --page docs/resize.md

.PHONY: bench-peers
bench-peers: check-root check-go bin/swell bin/peers/etcd bin/peers/kube-apiserver bin/peers/kube-scheduler ## measure Kubernetes and Swell side by side
	go run ./perf peers --rounds 3

.PHONY: test-vpa
test-vpa: check-root build test-deps ## run the Vertical Pod Autoscaler's in-place updates against Swell
	cd e2e/vpa && PATH="$(CURDIR)/bin:$$PATH" go test -count=1 ./...

.PHONY: picture
picture: check-root build bin/httpserver ## run the demo and draw its picture for the README
	@go run ./examples/demo -picture docs/demo.svg

.PHONY: generate
generate: protoc-plugins ## make generated code again
	PATH="$(CURDIR)/bin:$$PATH" go generate ./api/...

# What is generated must be what the sources say, but for the versions of the generators.
.PHONY: generated
generated: protoc-plugins
	@rm -rf .cache/generated && mkdir -p .cache/generated
	@PATH="$(CURDIR)/bin:$$PATH" protoc --go_out=.cache/generated --go_opt=module=swell.dev/swell \
		--go-grpc_out=.cache/generated --go-grpc_opt=module=swell.dev/swell $$(find api -name '*.proto')
	@cd .cache/generated && for f in $$(find . -name '*.pb.go'); do \
		diff -I 'protoc ' -I 'protoc-gen-go' "$$f" "$(CURDIR)/$$f" >/dev/null || { echo "generated code differs: $$f: run make generate and commit it"; exit 1; }; done

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
