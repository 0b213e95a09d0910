#include <berth/server/ops/project_figures.h>

#include <algorithm>
#include <tuple>

namespace berth::server {

std::vector<ProjectRow> project_rows(const std::map<std::string_view, ProjectFigures>& all,
                                     std::size_t rows_max) {
  std::vector<ProjectRow> rows;
  rows.reserve(all.size());
  for (const auto& [name, figures] : all) rows.push_back({std::string(name), figures});
  if (rows.size() <= rows_max) return rows;
  std::sort(rows.begin(), rows.end(), [](const ProjectRow& a, const ProjectRow& b) {
    return std::tie(b.figures.sessions, b.figures.agents, a.project) <
           std::tie(a.figures.sessions, a.figures.agents, b.project);
  });
  ProjectRow others{std::string(kOtherProjects), {}};
  for (std::size_t i = rows_max - 1; i < rows.size(); ++i) {
    others.figures.sessions += rows[i].figures.sessions;
    others.figures.turns += rows[i].figures.turns;
    others.figures.agents += rows[i].figures.agents;
  }
  rows.resize(rows_max - 1);
  std::sort(rows.begin(), rows.end(),
            [](const ProjectRow& a, const ProjectRow& b) { return a.project < b.project; });
  rows.push_back(std::move(others));
  return rows;
}

}  // namespace berth::server
