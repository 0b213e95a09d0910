#include <berth/io/sim_platform.h>

#include <algorithm>
#include <cctype>

namespace berth::inline v0::io {

SimPlatform::SimPlatform(SimMachine& machine, std::string name)
    : machine_(machine),
      random_(machine.random().next()),
      reactor_(machine, std::move(name)),
      offload_(machine),
      files_(machine.disk()),
      processes_(machine, machine.next_host()),
      process_table_(machine),
      resolver_(machine) {}

void SimPlatform::set_environment(std::string name, std::string value) {
  environment_.values[std::move(name)] = std::move(value);
}

void SimPlatform::crash() {
  if (crashed()) return;
  for (auto hook = hooks_.rbegin(); hook != hooks_.rend(); ++hook) (*hook)();
  files_.freeze();
  reactor_.freeze();
  processes_.freeze();
}

void SimPlatform::crash_soon(std::uint64_t operations, std::uint64_t jobs) {
  Random& random = machine_.random();
  if (random.one_in(3)) {
    const bool after = random.one_in(2);
    offload_.interrupt_after(1 + random.below(jobs), after, [this] { crash(); });
  } else {
    reactor_.interrupt_after(1 + random.below(operations), [this] { crash(); });
  }
}

Result<ProcessTable::Usage> SimPlatform::Table::usage(ProcessId id) {
  Result<VitalSigns> signs = look(id, false);
  if (!signs.has_value()) return fail(std::move(signs.error()));
  return Usage{signs->memory_bytes, signs->cpu_microseconds};
}

Result<VitalSigns> SimPlatform::Table::look(ProcessId id, bool) {
  SimProcess* process = machine_.find_process(id.pid);
  if (process == nullptr || process->dead() || process->id() != id) {
    return fail(ErrorKind::not_found, "no_such_process", "process " + std::to_string(id.pid));
  }
  return process->signs;
}

Result<std::vector<Address>> SimPlatform::Names::resolve(std::string_view host_and_port) {
  const std::string name(host_and_port);
  const std::size_t colon = name.rfind(':');
  if (colon == std::string::npos) {
    return fail(ErrorKind::invalid, "bad_address", name + " has no port");
  }
  const std::string host = name.substr(0, colon);
  const std::string port = name.substr(colon);
  if (const std::vector<Address>* known = machine_.find_host(name)) return *known;
  if (host == "localhost") return std::vector<Address>{Address{"127.0.0.1" + port}};
  const bool numeric =
      !host.empty() && (host[0] == '[' || std::isdigit(static_cast<unsigned char>(host[0])));
  if (numeric) return std::vector<Address>{Address{name}};
  return fail(ErrorKind::not_found, "unknown_host", name);
}

std::optional<std::string> SimPlatform::Variables::get(const std::string& name) const {
  const auto found = values.find(name);
  if (found == values.end()) return std::nullopt;
  return found->second;
}

}  // namespace berth::inline v0::io
