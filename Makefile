# The few words a person types. What they do is in scripts/ and meson.build.
BUILD ?= build
PREFIX ?= /usr
DESTDIR ?=

.PHONY: all run test test-long test-clients bench bench-peers bench-growth fuzz format check-format install clean help

all: $(BUILD)/build.ninja ## build everything into ./build
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@scripts/need build
	@meson setup $(BUILD) --prefix $(PREFIX) >/dev/null

PROGRAMS = restante $(addprefix restante-,master tls door auth worker reader control)

run: $(BUILD)/build.ninja ## start a server with a demo account on loopback
	@scripts/need run
	@ninja -C $(BUILD) $(PROGRAMS)
	@scripts/run $(BUILD)

test: ## install what tests need, build, run everything
	@scripts/need build test
	@python3 tests/run.py

test-long: ## what make test samples, all of it: hours (PARTS="kill power": only those)
	@scripts/need build test
	@python3 tests/long.py $(PARTS)

test-clients: $(BUILD)/build.ninja ## install Thunderbird, see that all a person does with it works
	@scripts/need clients
	@ninja -C $(BUILD) $(PROGRAMS)
	@cd tests && RESTANTE_BUILD=$(BUILD) python3 -m unittest -v desktop.thunderbird

bench: all ## measure beside the peers that are here (doc/performance.md)
	@scripts/need bench
	@python3 bench/run.py --build $(BUILD)

bench-peers: all ## get Dovecot and Cyrus, then measure beside them
	@scripts/bench-peers $(BUILD)
	@$(MAKE) bench

bench-growth: all ## measure Restante alone as everything grows
	@scripts/need bench
	@python3 bench/growth.py --build $(BUILD)

fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each
	@scripts/need build fuzz
	@scripts/fuzz

format: ## let clang-format lay out every source file
	@scripts/need format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: all ## install into DESTDIR (systemd unit, users, man pages too)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean: ## remove what was built
	@rm -rf build build-asan build-clang build-faults build-fuzz

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/:/' | column -t -s:
