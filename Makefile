# make help lists what there is.
.PHONY: help build run test check race fuzz bench bench-postgres soak golden
T ?= 30s

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

build: ## one static binary in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/holdfast ./cmd/holdfast

run: build ## a demo server on http://127.0.0.1:8420
	bin/holdfast dev

test: ## everything that must pass before a change lands
	@bash scripts/test

check: ## formatting, vet, staticcheck, house rules, generated pages
	@bash scripts/check

fuzz: ## every fuzz target for T=30s each
	@bash scripts/fuzz $(T)

bench: ## the figures of docs/reference/performance.md, in one run
	@bash scripts/bench

bench-postgres: ## the same on a PostgreSQL of its own, with ten million sessions
	@bash scripts/bench -postgres -millions 10

soak: ## the long forms of the tests, about two hours
	@bash scripts/soak

golden: ## rewrite generated pages and golden files; then read the diff
	go generate ./internal/server
	go test ./internal/house -run TestRows -update
