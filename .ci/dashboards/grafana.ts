// Grafana's types, as they are in JSON: its enums are strings and numbers there.
import type {
  AnnotationQuery, Dashboard, DataQuery, FieldConfig, Panel, RowPanel, VariableModel,
} from "@grafana/schema";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Wire<T> = T extends string ? `${T}`
  : T extends number ? (number extends T ? number : `${T}` extends `${infer N extends number}` ? N : never)
  : T extends ReadonlyArray<infer Item> ? Wire<Item>[]
  : T extends object ? { [Key in keyof T]: Wire<T[Key]> }
  : T;

// The datasource's own query and annotation are not in the package: what its documentation names, and nothing else.
interface Query extends DataQuery {
  datasource: { type: "prometheus"; uid: "${datasource}" };
  editorMode: "code";
  expr: string;
  format: "time_series" | "table";
  instant: boolean;
  legendFormat?: string;
  range: boolean;
}

interface Moments extends Omit<AnnotationQuery, "target"> {
  expr: string;
  step: string;
  tagKeys: string;
  textFormat: string;
  titleFormat: string;
  useValueForTime: boolean;
}

interface Link {
  targetBlank: boolean;
  title: string;
  url: string;
}

// `definition` is the text that the variable's editor shows.
type Variable = VariableModel & { definition?: string };

interface Kinds {
  timeseries: [TimeSeries.Options, TimeSeries.FieldConfig];
  stat: [Stat.Options, never];
  bargauge: [BarGauge.Options, never];
  "state-timeline": [StateTimeline.Options, StateTimeline.FieldConfig];
  table: [Table.Options, Table.FieldConfig];
}

type Defaults<Custom> = Omit<FieldConfig, "custom" | "links"> & { custom?: Custom; links?: Link[] };

export type PanelOf<Kind extends keyof Kinds> = Wire<
  Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {
    type: Kind;
    options: Kinds[Kind][0];
    targets: Query[];
    fieldConfig: {
      defaults: Defaults<Kinds[Kind][1]>;
      overrides: { matcher: { id: string; options: string }; properties: { id: string; value: unknown }[] }[];
    };
  }
>;

export type Row = Wire<RowPanel>;

export type Board = Wire<
  Omit<Dashboard, "panels" | "templating" | "annotations"> & {
    panels: [];
    templating: { list: Variable[] };
    annotations: { list: Moments[] };
  }
>;
