// What Grafana takes for a dashboard, by its own types, as far as ours use it: a misspelt option, which Grafana would pass over, does not compile.
import type { Dashboard, DataTransformerConfig, FieldConfigSource, Panel, RowPanel } from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as Cell, Options as Table } from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type { FieldConfig as Line, Options as TimeSeries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** As JSON has it: enums are their texts or numbers, and what is left out has a default. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? number
    : T extends boolean | null | undefined
      ? T
      : T extends (infer E)[]
        ? Json<E>[]
        : T extends object
          ? { [K in keyof T]?: Json<T[K]> }
          : T;

/** A query of Grafana's data source for Prometheus. */
interface Query {
  refId: string;
  datasource: { type: "prometheus"; uid: "${datasource}" };
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  format?: "time_series" | "table";
}

type PanelOf<Type extends string, Options, Custom = never> = Omit<
  Json<Panel>,
  "type" | "title" | "gridPos" | "targets" | "options" | "fieldConfig" | "transformations"
> & {
  type: Type;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: Query[];
  options: Json<Options>;
  fieldConfig: {
    defaults: Omit<Json<FieldConfigSource["defaults"]>, "custom"> & { custom?: Json<Custom> };
    overrides: Json<FieldConfigSource["overrides"]>;
  };
  transformations?: DataTransformerConfig[];
};

type AnyPanel =
  | PanelOf<"stat", Stat>
  | PanelOf<"timeseries", TimeSeries, Line>
  | PanelOf<"bargauge", BarGauge>
  | PanelOf<"table", Table, Cell>
  | (Omit<Json<RowPanel>, "type"> & { type: "row" });

export type Shape = Omit<Json<Dashboard>, "panels"> & { panels: AnyPanel[] };
